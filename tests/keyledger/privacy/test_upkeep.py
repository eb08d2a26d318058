"""A service brings erasures in order as it starts."""

from pathlib import Path

import pytest

from domain.audit.entries import Action
from keyledger.encryption.personal_keys import Kind
from keyledger.privacy.erasure_file import ErasureFile
from keyledger.start_error import StartError
from tests.keyledger.privacy.test_erasure import Ledger
from tests.support.scenario import TENANT
from tests.support.service import client_of, environment, served
from tests.support.store import open_store


def test_a_start_destroys_keys_that_are_too_old(database_url: str) -> None:
    with served(database_url, environment()) as url, client_of(url) as client:
        assert client.put(TENANT, "openai", api_key="sk-live-0123456789").status_code == 200
    with open_store(database_url) as store, store.superuser() as database:
        database.execute("UPDATE personal_keys SET day = day - 3")
        assert store.audit(action=Action("set"))[0].actor == "super"
    with served(database_url, environment(AUDIT_PERSONAL_DATA_DAYS="3")), open_store(database_url) as store:
        assert store.audit(action=Action("set"))[0].actor == "super", "three days are kept"
    with served(database_url, environment(AUDIT_PERSONAL_DATA_DAYS="2")), open_store(database_url) as store:
        (entry,) = store.audit(action=Action("set"))
        assert (entry.actor, entry.erased) == (None, ("actor", "client_address"))
        assert len(store.audit(action=Action("personal-data-expired"))) == 1


def test_a_start_applies_the_erasures_of_data_dir(database_url: str, tmp_path: Path) -> None:
    settings = environment(DATA_DIR=str(tmp_path))
    with served(database_url, settings) as url, client_of(url) as client:
        assert client.put(TENANT, "openai", api_key="sk-live-0123456789").status_code == 200
    with open_store(database_url) as store:
        person = store.people.keys.person_named(Kind.ACTOR, "super")
        assert person is not None
        ErasureFile(tmp_path).add([person])
    with served(database_url, settings), open_store(database_url) as store:
        assert store.audit(action=Action("set"))[0].actor is None
        (record,) = store.audit(action=Action("person-erased"))
        assert (record.role, record.details["person"]) == ("service", person)


def test_a_list_of_erasures_that_cannot_be_read_prevents_the_start(database_url: str, tmp_path: Path) -> None:
    (tmp_path / "erasures").write_text("not a token\n")
    with pytest.raises(StartError, match="erasures"), served(database_url, environment(DATA_DIR=str(tmp_path))):
        pass


def test_rows_of_what_is_over_lose_the_names_of_who_was_erased(database_url: str, tmp_path: Path) -> None:
    with open_store(database_url) as store, store.superuser() as database:
        ledger = Ledger(store, tmp_path)
        for name in ("beatrix", "anna"):
            ledger.act(name, key=f"sk-live-of-{name}-0123456789")
            database.execute(
                "INSERT INTO key_rotations (rotation_id, key_id, actor, state, total, started_at, finished_at)"
                " VALUES (gen_random_uuid(), 'k', %s, 'completed', 0, now(), now())",
                [name],
            )
        ledger.erase(Kind.ACTOR, "beatrix")
        actors = {row["actor"] for row in database.execute("SELECT actor FROM key_rotations")}
    assert actors == {"(erased)", "anna"}
