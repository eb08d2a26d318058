"""`credentials revoke` on a real database: a plan first, then everything that is hit, named in the audit."""

import json

import pytest

from scripts.terminal.exits import Exit
from tests.scripts.conftest import Cli
from tests.support.store import ENCRYPTION_KEY, open_store

TENANT, OTHER_TENANT = "0a1b2c3d-0000-4000-8000-000000000001", "0a1b2c3d-0000-4000-8000-000000000002"


@pytest.fixture
def revoke(cli: Cli, database_url: str):
    with open_store(database_url) as store:
        for tenant in (TENANT, OTHER_TENANT):
            store.set(tenant, "openai", f"sk-live-{tenant}")
        key_id = store.keyring.primary_id
    env = {
        "DATABASE_URL": database_url,
        "ENCRYPTION_KEY": ENCRYPTION_KEY.reveal(),
        "TENANT_CREDENTIALS_ENABLED": "true",
    }

    def run(*arguments: str):
        sealed = () if "--fingerprint" in arguments or "--sealed-under" in arguments else ("--sealed-under", key_id)
        return cli("credentials", "revoke", *sealed, *arguments, env=env)

    return run


def test_a_plan_names_what_is_hit_and_yes_deletes_it_once(revoke) -> None:
    for arguments in ((), ("--plan",)):
        planned = revoke(*arguments)
        assert planned.code == Exit.OK, planned.err
        assert TENANT in planned.out and OTHER_TENANT in planned.out
        assert "2 credentials are hit; nothing was deleted" in planned.err
        assert "global key" in planned.err
    done = json.loads(revoke("--yes", "--reason", "the key leaked", "--json").out)
    assert (done["deleted"], done["changed"], done["failed"]) == (2, [], [])
    again = revoke("--yes")
    assert (again.code, again.out, again.err) == (Exit.OK, "", "no live credential is hit\n")
    assert json.loads(revoke("--json").out) == {"causation_id": done["causation_id"], "hit": [], "deleted": None}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--sealed-under", "k0123456789", "--fingerprint", "f0123456789abcdef"), "give one of"),
        (("--sealed-under", "sk-live-0123456789"), "must be the id of an encryption key"),
        (("--fingerprint", "f1"), "must be f and sixteen"),
        (("--plan", "--yes"), "not both"),
        (("--emergency", "--yes"), "needs --yes and --reason"),
        (("--emergency", "--reason", "a leak"), "needs --yes and --reason"),
        (("--reason", "two\nlines"), "--reason must be one line"),
    ],
)
def test_a_mistake_in_the_arguments_is_named(revoke, arguments: tuple[str, ...], said: str) -> None:
    ended = revoke(*arguments)
    assert ended.code == Exit.USAGE
    assert said in ended.err
