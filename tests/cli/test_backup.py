"""The commands for backup and restore: right, and without a password."""

import json

from scripts.exits import Exit
from tests.cli.conftest import Cli

URL = "postgresql://app:s3cret-passw0rd@db1,db2/ledger?target_session_attrs=read-write"


def test_without_a_server_of_ones_own_the_commands_ask_for_the_embedded_one(cli: Cli) -> None:
    ended = cli("backup")
    assert ended.code == Exit.OK
    save, bring_back = ended.out.splitlines()
    assert save.startswith("pg_dump ")
    assert bring_back.startswith("pg_restore ")
    assert ended.out.count('"$(keyledger database url)"') == 2


def test_the_address_of_a_server_is_shown_without_its_password(cli: Cli) -> None:
    ended = cli("backup", "--json", env={"DATABASE_URL": URL})
    shown = json.loads(ended.out)
    assert set(shown) == {"backup", "restore"}
    assert "host=db1,db2" in shown["backup"]
    assert "dbname=ledger" in shown["restore"]
    assert "s3cret" not in ended.out + ended.err


def test_settings_that_are_not_fit_are_refused(cli: Cli) -> None:
    assert cli("backup", env={"DATABASE_URL": "mysql://x"}).code == Exit.REFUSED
