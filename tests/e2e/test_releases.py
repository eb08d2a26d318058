"""Two releases on one database: both serve, and an older one that cannot read the log ends with one sentence."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from keyledger.encryption.node_release import own_release
from keyledger.start_error import StartError
from tests.support.next_release import FORM
from tests.support.service import DIRECT_MODELS, Client, ServiceProcess, client_of, environment, served

TENANT, OTHER = "11111111-1111-4111-8111-111111111111", "22222222-1111-4111-8111-111111111111"
SETTINGS = environment(AI_MODELS_FILE=DIRECT_MODELS)


@contextmanager
def next_release(folder: Path, url: str) -> Iterator[Client]:
    """A service of the release to come."""
    settings = SETTINGS | {"DATABASE_URL": url, "DATA_DIR": str(folder / "next")}
    service = ServiceProcess(settings, folder, module="tests.support.next_release")
    with service, client_of(service.url) as client:
        yield client


def class_versions(url: str) -> list[object]:
    with psycopg.connect(url) as database:
        rows = database.execute(
            "SELECT convert_from(state, 'UTF8') FROM keyledger_events WHERE topic = 'CredentialSet'"
            " ORDER BY notification_id"
        ).fetchall()
    return [json.loads(state).get("class_version", 1) for (state,) in rows]


@pytest.mark.long
def test_a_new_form_is_written_once_the_earlier_release_is_gone_and_refuses_it_from_then_on(
    database_url: str, tmp_path: Path
) -> None:
    with served(database_url, SETTINGS) as address, client_of(address) as this:
        assert this.put(TENANT, "openai", api_key="sk-of-this-0123456789").status_code == 200
        with next_release(tmp_path, database_url) as later:
            assert later.put(OTHER, "openai", api_key="sk-of-next-0123456789").status_code == 200
            assert later.delete(TENANT, "openai").status_code == 200
            shown = this.http.get(f"/api/v1/sysadmin/tenants/{OTHER}/credentials/openai")
            assert shown.json()["masked_key"] == "...6789"
            assert this.put(OTHER, "openai", api_key="sk-of-this-again-0123").status_code == 200
        assert this.http.get("/readyz").status_code == 200
    assert class_versions(database_url) == [1, 1, 1]
    with next_release(tmp_path, database_url) as later:
        assert later.put(TENANT, "openai", api_key="sk-of-next-9876543210").status_code == 200
        assert class_versions(database_url) == [1, 1, 1, FORM]
        with pytest.raises(StartError) as refused, served(database_url, SETTINGS):
            pass
        assert str(refused.value) == (
            f"the log has events that release {own_release(FORM)} began to write, and this release cannot read them:"
            " run that release or a newer one"
        )
        assert later.http.get("/readyz").status_code == 200
