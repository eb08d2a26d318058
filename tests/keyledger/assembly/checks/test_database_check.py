"""Each thing that can stand between a start and its database, on real servers: one sentence without a value."""

import socket
from collections.abc import Callable, Iterator

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from domain.errors import StoreUnavailableError
from keyledger.assembly.checks.database_check import prepare_database, require_database
from keyledger.start_error import StartError
from keyledger.store_attestation import sentence_of
from projections.database.connection_check import check_connection
from projections.database.connection_failure import Failure
from projections.database.findings import Flaw
from projections.database.migration import SCHEMA_VERSION, needed_rights
from tests.support.own_server import OwnServer, installed_programs, own_server
from tests.support.pooler import pooled
from tests.support.ports import free_port
from tests.support.store import Store

CANARY = "canary-passw0rd"
RULES = ["host closed all 127.0.0.1/32 reject", "hostssl sealed all 127.0.0.1/32 scram-sha-256"]
RULES += ["hostnossl sealed all 127.0.0.1/32 reject", "host all guest 127.0.0.1/32 trust"]


@pytest.fixture(scope="module")
def server() -> Iterator[OwnServer]:
    with own_server(RULES, programs=installed_programs()) as server:
        server.run(
            "CREATE ROLE busy LOGIN PASSWORD 'p' CONNECTION LIMIT 0",
            "CREATE ROLE plain LOGIN PASSWORD 'p'",
            "CREATE DATABASE closed",
            "CREATE DATABASE sealed",
            "CREATE DATABASE private",
            "REVOKE CONNECT ON DATABASE private FROM PUBLIC",
            "CREATE DATABASE resting",
            "ALTER DATABASE resting SET default_transaction_read_only = on",
            "CREATE DATABASE empty",
        )
        yield server


FAILURES: list[object] = [
    pytest.param(lambda s: f"postgresql://x@127.0.0.1:{free_port()}/d", Failure.NOTHING_LISTENS, id="server down"),
    pytest.param(lambda s: "host=/nowhere dbname=d", Failure.NOTHING_LISTENS, id="no such socket"),
    pytest.param(lambda s: "postgresql://x@db.invalid/d", Failure.NAME_UNKNOWN, id="the name does not resolve"),
    pytest.param(lambda s: s.url(password=CANARY), Failure.PASSWORD, id="wrong password"),
    pytest.param(lambda s: f"postgresql://owner@127.0.0.1:{s.port}/empty", Failure.PASSWORD_MISSING, id="no password"),
    pytest.param(lambda s: s.url("nowhere"), Failure.DATABASE_UNKNOWN, id="no such database"),
    pytest.param(lambda s: s.url("empty", "guest"), Failure.ROLE_UNKNOWN, id="no such role"),
    pytest.param(lambda s: s.url("closed"), Failure.ADDRESS_REFUSED, id="refused by pg_hba.conf"),
    pytest.param(lambda s: s.url("sealed", query="?sslmode=disable"), Failure.TLS_REQUIRED, id="TLS required"),
    pytest.param(lambda s: s.url(query="?sslmode=verify-full"), Failure.TLS_FAILED, id="a certificate of no one"),
    pytest.param(lambda s: s.url("empty", "busy", "p"), Failure.TOO_MANY_CONNECTIONS, id="too many connections"),
    pytest.param(lambda s: s.url("private", "plain", "p"), Failure.RIGHT_TO_CONNECT, id="no right to connect"),
    pytest.param(lambda s: s.url("resting"), Failure.READ_ONLY, id="takes no writes"),
]


@pytest.mark.parametrize(("address", "failure"), FAILURES)
def test_what_keeps_us_out_is_named_and_quotes_nothing(
    server: OwnServer, address: Callable[[OwnServer], str], failure: Failure
) -> None:
    if failure in {Failure.TLS_REQUIRED, Failure.TLS_FAILED} and installed_programs() is None:
        pytest.skip("no PostgreSQL with TLS is installed (apt-get install postgresql)")
    with pytest.raises(StoreUnavailableError) as refused:
        require_database(address(server))
    (finding,) = check_connection(address(server)).findings
    assert (finding.flaw, str(refused.value)) == (failure, sentence_of(finding))
    for value in (CANARY, server.password, "127.0.0.1", "nowhere", "guest"):
        assert value not in str(refused.value)


def test_a_server_that_says_nothing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("projections.database.connection_failure.PATIENCE_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        found = check_connection(f"postgresql://x@127.0.0.1:{silent.getsockname()[1]}/d?connect_timeout=2")
    assert found.findings[0].flaw is Failure.NO_ANSWER


@pytest.mark.pooler
def test_behind_a_pooler_everything_holds_but_the_parameter_it_refuses(database_url: str) -> None:
    with pooled(database_url, "pool_mode = transaction") as pooler:
        report = check_connection(pooler.url)
        assert (report.pooled, report.has_present_schema) == (True, True)
        assert {finding.flaw for finding in report.findings} <= {None, Flaw.ROLE}
        with pytest.raises(StoreUnavailableError, match="rejects the parameter `options`"):
            require_database(f"{pooler.url}?options=-csearch_path%3Dpublic")
        assert check_connection(pooler.url.replace("app:", "nobody:")).findings[0].flaw is Failure.PASSWORD
        assert check_connection(f"{pooler.url}_").findings[0].flaw is Failure.POOLER


def test_a_direct_connection_is_known_as_one(database_url: str) -> None:
    assert not check_connection(database_url).pooled


def test_an_empty_database_is_made_ready_and_then_everything_holds(empty_database_url: str) -> None:
    assert not require_database(empty_database_url).has_present_schema
    prepare_database(empty_database_url)
    report = require_database(empty_database_url)
    assert report.has_present_schema
    assert len(report.findings) == len({finding.assumption for finding in report.findings})


def test_an_administrators_address_of_another_database_is_noticed_before_anything_is_made_there(
    database_url: str, empty_database_url: str
) -> None:
    with pytest.raises(StartError, match="DATABASE_ADMIN_URL leads to another database than DATABASE_URL"):
        prepare_database(database_url, empty_database_url)
    assert not require_database(empty_database_url).has_present_schema


def test_an_administrators_address_of_the_same_database_will_do_in_any_spelling(database_url: str) -> None:
    prepare_database(database_url, f"{database_url}{'&' if '?' in database_url else '?'}application_name=admin")


def test_tables_that_are_made_in_another_schema_are_not_served(empty_database_url: str) -> None:
    with psycopg.connect(empty_database_url, autocommit=True) as database:
        database.execute("CREATE SCHEMA elsewhere")
    there = make_conninfo(empty_database_url, options="-csearch_path=elsewhere")
    with pytest.raises(StartError, match="cannot see the tables"):
        prepare_database(empty_database_url, there)


@pytest.mark.pooler
def test_the_way_past_a_pooler_is_known_as_the_same_database(database_url: str, empty_database_url: str) -> None:
    with pooled(database_url, "pool_mode = transaction") as pooler:
        prepare_database(pooler.url, database_url)
        with pytest.raises(StartError, match="leads to another database"):
            prepare_database(pooler.url, empty_database_url)


FLAWS = [
    pytest.param(
        "ALTER TABLE keyledger_events DISABLE TRIGGER keyledger_events_append_only",
        "keyledger_events is not protected",
        id="trigger off",
    ),
    pytest.param(
        "ALTER TABLE keyledger_ledger ENABLE TRIGGER keyledger_ledger_append_only",
        "keyledger_ledger is not protected",
        id="trigger not always",
    ),
    pytest.param(
        "DROP TRIGGER keyledger_events_append_only ON keyledger_events",
        "keyledger_events is not protected",
        id="trigger gone",
    ),
    pytest.param(
        "ALTER TABLE audit_trail SET UNLOGGED", "audit_trail would be empty after a server crash", id="unlogged"
    ),
    pytest.param(
        f"INSERT INTO keyledger_schema (version) VALUES ({SCHEMA_VERSION + 1})", "a newer release", id="newer schema"
    ),
    pytest.param(
        "CREATE OR REPLACE FUNCTION keyledger_append(streams uuid[], versions bigint[], topics text[], states bytea[],"
        " code_key_id text, codes bytea[], earliest text, node_time timestamptz, view_rows jsonb)"
        " RETURNS SETOF bigint LANGUAGE sql AS 'SELECT 1::bigint'",
        "keyledger_append",
        id="another append",
    ),
]


@pytest.mark.parametrize(("change", "sentence"), FLAWS)
def test_what_is_wrong_with_a_database_that_answers_refuses_the_start(store: Store, change: str, sentence: str) -> None:
    with store.superuser() as database:
        database.execute(change.encode())
    with pytest.raises(StartError, match=sentence):
        prepare_database(store.url)


def test_a_role_without_rights_is_told_which(server: OwnServer) -> None:
    prepare_database(server.url("empty"))
    with pytest.raises(StartError) as refused:
        prepare_database(server.url("empty", "plain", "p"))
    for needed in ("SELECT on keyledger_schema", "INSERT on keyledger_events", "DELETE on nodes"):
        assert needed in str(refused.value)
    assert ("EXECUTE", "keyledger_lock_log()") in needed_rights()
