"""A change of the database is named by a start, a running service and a verification; a harmless one is not."""

import secrets
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from importlib import import_module
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from keyledger.assembly.checks.database_check import prepare_database
from keyledger.start_error import StartError
from keyledger.store_attestation import RoleRule
from keyledger.store_attestation.watch import StoreWatch
from keyledger.store_verification import verify_store
from projections.database.attestation import attest
from projections.database.connection_check import check_connection
from projections.database.connections import connect
from projections.database.findings import Flaw
from projections.database.migration import apply_again, migrate, statements_of
from projections.database.pools import open_pool
from projections.replay.replaying import PROJECTIONS, Swap, replay_projection
from tests.support.own_server import OwnServer, installed_programs, own_server
from tests.support.postgres import TemplatedServer, programs
from tests.support.scenario import TENANT
from tests.support.shipped_description import FILE, described
from tests.support.store import Store

SIGNATURE = (
    "keyledger_append(streams uuid[], versions bigint[], topics text[], states bytea[],"
    " code_key_id text, codes bytea[], earliest text, node_time timestamptz, view_rows jsonb)"
    " RETURNS SETOF bigint"
)
SWALLOWS = "'BEGIN RETURN QUERY SELECT n::bigint FROM generate_series(1, cardinality(streams)) AS n; END'"


def by_default(setting: str) -> str:
    """A statement that changes a setting of new sessions."""
    return f"DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET {setting}', current_database()); END $$"


def searched(path: str) -> str:
    """A statement that changes where new sessions look for names."""
    return by_default(f"search_path = {path}")


GUARD = "keyledger_events_append_only"
SAYS_NOTHING = "CREATE FUNCTION says_nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'"
WRONG = "CREATE FUNCTION wrong(bytea) RETURNS boolean IMMUTABLE LANGUAGE sql AS 'SELECT true'"

SABOTAGE = {
    "an append that inserts nothing": (
        Flaw.FUNCTIONS,
        "keyledger_append",
        [f"CREATE OR REPLACE FUNCTION {SIGNATURE} LANGUAGE plpgsql AS {SWALLOWS}"],
    ),
    "the right body with the owner's rights": (
        Flaw.FUNCTIONS,
        "keyledger_append",
        ["ALTER FUNCTION keyledger_append SECURITY DEFINER"],
    ),
    "the right body with a search path": (
        Flaw.FUNCTIONS,
        "keyledger_append",
        ["ALTER FUNCTION keyledger_append SET search_path = elsewhere, public"],
    ),
    "the right body with a setting": (
        Flaw.FUNCTIONS,
        "keyledger_append",
        ["ALTER FUNCTION keyledger_append SET synchronous_commit = off"],
    ),
    "a lock that locks nothing": (
        Flaw.FUNCTIONS,
        "keyledger_lock_log",
        ["CREATE OR REPLACE FUNCTION keyledger_lock_log() RETURNS void LANGUAGE plpgsql AS 'BEGIN END'"],
    ),
    "a trigger function that refuses nothing": (
        Flaw.FUNCTIONS,
        "keyledger_refuse_change",
        [
            (
                "CREATE OR REPLACE FUNCTION keyledger_refuse_change() RETURNS trigger LANGUAGE plpgsql"
                " AS 'BEGIN RETURN NULL; END'"
            )
        ],
    ),
    "a function that is called immutable": (
        Flaw.FUNCTIONS,
        "keyledger_lock_log",
        ["ALTER FUNCTION keyledger_lock_log IMMUTABLE"],
    ),
    "a function that is gone": (Flaw.FUNCTIONS, "keyledger_lock_log", ["DROP FUNCTION keyledger_lock_log"]),
    "another append with other arguments": (
        Flaw.FUNCTIONS,
        "keyledger_append",
        [
            (
                "CREATE FUNCTION keyledger_append(uuid[], bigint[], text[], bytea[], json) RETURNS SETOF bigint"
                " LANGUAGE sql AS 'SELECT 1::bigint'"
            )
        ],
    ),
    "an append in an earlier schema": (
        Flaw.SHADOWED,
        "keyledger_append",
        [
            "CREATE SCHEMA earlier",
            f"CREATE FUNCTION earlier.{SIGNATURE} LANGUAGE plpgsql AS {SWALLOWS}",
            searched("earlier, public"),
        ],
    ),
    "a table in a later schema": (
        Flaw.SHADOWED,
        "audit_trail",
        [
            "CREATE SCHEMA later",
            "CREATE VIEW later.audit_trail AS SELECT * FROM public.audit_trail",
            searched("public, later"),
        ],
    ),
    "a table in an earlier schema": (
        Flaw.SHADOWED,
        "audit_trail",
        [
            "CREATE SCHEMA earlier",
            "CREATE TABLE earlier.audit_trail (LIKE public.audit_trail INCLUDING ALL)",
            searched("earlier, public"),
        ],
    ),
    "a function in place of PostgreSQL's": (
        Flaw.SHADOWED,
        "function",
        [
            (
                "CREATE FUNCTION jsonb_populate_recordset(current_credentials, jsonb) RETURNS SETOF current_credentials"
                " LANGUAGE sql AS 'SELECT NULL::current_credentials WHERE false'"
            )
        ],
    ),
    "PostgreSQL's own schema searched last": (
        Flaw.SHADOWED,
        "search_path",
        [
            "CREATE SCHEMA own",
            searched("own, public, pg_catalog"),
        ],
    ),
    "an operator in place of PostgreSQL's": (
        Flaw.SHADOWED,
        "operator",
        [
            "CREATE FUNCTION never(uuid, text) RETURNS boolean LANGUAGE sql AS 'SELECT false'",
            "CREATE OPERATOR = (LEFTARG = uuid, RIGHTARG = text, FUNCTION = never)",
        ],
    ),
    "a cast between types of PostgreSQL": (
        Flaw.SHADOWED,
        "cast",
        [
            "CREATE FUNCTION emptied(text) RETURNS jsonb IMMUTABLE LANGUAGE sql AS $$SELECT '[]'::jsonb$$",
            "CREATE CAST (text AS jsonb) WITH FUNCTION emptied(text)",
        ],
    ),
    "a trigger that is gone": (Flaw.TRIGGERS, "keyledger_events", [f"DROP TRIGGER {GUARD} ON keyledger_events"]),
    "a trigger that is off": (
        Flaw.TRIGGERS,
        "keyledger_events",
        [f"ALTER TABLE keyledger_events DISABLE TRIGGER {GUARD}"],
    ),
    "a trigger for replication only": (
        Flaw.TRIGGERS,
        "keyledger_ledger",
        ["ALTER TABLE keyledger_ledger ENABLE REPLICA TRIGGER keyledger_ledger_append_only"],
    ),
    "a trigger not for replication": (
        Flaw.TRIGGERS,
        "keyledger_locks",
        ["ALTER TABLE keyledger_locks ENABLE TRIGGER keyledger_locks_append_only"],
    ),
    "a trigger for fewer changes": (
        Flaw.TRIGGERS,
        "keyledger_events",
        [
            (
                f"CREATE OR REPLACE TRIGGER {GUARD} BEFORE TRUNCATE ON keyledger_events"
                " FOR EACH STATEMENT EXECUTE FUNCTION keyledger_refuse_change()"
            ),
            f"ALTER TABLE keyledger_events ENABLE ALWAYS TRIGGER {GUARD}",
        ],
    ),
    "a trigger of another function": (
        Flaw.TRIGGERS,
        "keyledger_events",
        [
            SAYS_NOTHING,
            (
                f"CREATE OR REPLACE TRIGGER {GUARD} BEFORE DELETE OR UPDATE OR TRUNCATE ON keyledger_events"
                " FOR EACH STATEMENT EXECUTE FUNCTION says_nothing()"
            ),
            f"ALTER TABLE keyledger_events ENABLE ALWAYS TRIGGER {GUARD}",
        ],
    ),
    "triggers the server believes absent": (
        Flaw.TABLES,
        "keyledger_events",
        ["UPDATE pg_class SET relhastriggers = false WHERE relname = 'keyledger_events'"],
    ),
    "a trigger that is added": (
        Flaw.ADDED_CODE,
        "current_credentials",
        [
            SAYS_NOTHING,
            "CREATE TRIGGER zz BEFORE INSERT ON current_credentials FOR EACH ROW EXECUTE FUNCTION says_nothing()",
        ],
    ),
    "a trigger at the commit": (
        Flaw.ADDED_CODE,
        "keyledger_events",
        [
            SAYS_NOTHING,
            (
                "CREATE CONSTRAINT TRIGGER zz AFTER INSERT ON keyledger_events DEFERRABLE INITIALLY DEFERRED"
                " FOR EACH ROW EXECUTE FUNCTION says_nothing()"
            ),
        ],
    ),
    "a rule": (
        Flaw.ADDED_CODE,
        "keyledger_events",
        ["CREATE RULE zz AS ON INSERT TO keyledger_events DO INSTEAD NOTHING"],
    ),
    "row level security": (
        Flaw.ROW_SECURITY,
        "current_credentials",
        ["ALTER TABLE current_credentials ENABLE ROW LEVEL SECURITY"],
    ),
    "an unlogged log": (Flaw.UNLOGGED, "keyledger_events", ["ALTER TABLE keyledger_events SET UNLOGGED"]),
    "an unlogged projection": (Flaw.UNLOGGED, "current_credentials", ["ALTER TABLE current_credentials SET UNLOGGED"]),
    "a view in place of a table": (
        Flaw.TABLES,
        "current_credentials",
        [
            "ALTER TABLE current_credentials RENAME TO kept",
            "CREATE VIEW current_credentials AS SELECT * FROM kept WHERE provider <> 'openai'",
        ],
    ),
    "a partitioned table in place of a table": (
        Flaw.TABLES,
        "nodes",
        ["ALTER TABLE nodes RENAME TO kept", "CREATE TABLE nodes (LIKE kept) PARTITION BY HASH (node_id)"],
    ),
    "a table that is gone": (Flaw.TABLES, "key_rotations", ["DROP TABLE key_rotations"]),
    "a table with children": (
        Flaw.TABLES,
        "keyledger_events",
        ["CREATE TABLE more () INHERITS (keyledger_events)"],
    ),
    "a type that is changed": (
        Flaw.COLUMNS,
        "keyledger_events.notification_id",
        ["ALTER TABLE keyledger_events ALTER notification_id TYPE numeric"],
    ),
    "a default that is changed": (
        Flaw.COLUMNS,
        "audit_trail.outcome",
        ["ALTER TABLE audit_trail ALTER outcome SET DEFAULT 'failure'"],
    ),
    "a column that may be empty": (
        Flaw.COLUMNS,
        "audit_trail.actor",
        ["ALTER TABLE audit_trail ALTER actor DROP NOT NULL"],
    ),
    "a column that is gone": (Flaw.COLUMNS, "nodes.version", ["ALTER TABLE nodes DROP version"]),
    "a column with a function": (
        Flaw.COLUMNS,
        "keyledger_events",
        ["ALTER TABLE keyledger_events ADD more text DEFAULT set_config('synchronous_commit', 'off', false)"],
    ),
    "another collation": (
        Flaw.COLUMNS,
        "current_credentials.provider",
        ['ALTER TABLE current_credentials ALTER provider TYPE text COLLATE "C"'],
    ),
    "a unique index that is gone": (
        Flaw.INDEXES,
        "keyledger_events_notification_id_idx",
        ["DROP INDEX keyledger_events_notification_id_idx"],
    ),
    "a unique index that is invalid": (
        Flaw.INDEXES,
        "keyledger_events_notification_id_idx",
        ["UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'keyledger_events_notification_id_idx'::regclass"],
    ),
    "a unique index that is not unique": (
        Flaw.INDEXES,
        "keyledger_events_notification_id_idx",
        [
            "DROP INDEX keyledger_events_notification_id_idx",
            "CREATE INDEX keyledger_events_notification_id_idx ON keyledger_events (notification_id)",
        ],
    ),
    "a unique index over some rows": (
        Flaw.INDEXES,
        "keyledger_events_notification_id_idx",
        [
            "DROP INDEX keyledger_events_notification_id_idx",
            (
                "CREATE UNIQUE INDEX keyledger_events_notification_id_idx ON keyledger_events (notification_id)"
                " WHERE notification_id < 0"
            ),
        ],
    ),
    "a unique index that is added": (
        Flaw.INDEXES,
        "audit_trail",
        ["CREATE UNIQUE INDEX zz ON audit_trail (request_id)"],
    ),
    "an index that runs a function": (
        Flaw.INDEXES,
        "keyledger_events",
        [WRONG, "CREATE INDEX zz ON keyledger_events (wrong(state))"],
    ),
    "a primary key that is gone": (
        Flaw.CONSTRAINTS,
        "keyledger_events_pkey",
        ["ALTER TABLE keyledger_events DROP CONSTRAINT keyledger_events_pkey"],
    ),
    "a check that is gone": (
        Flaw.CONSTRAINTS,
        "current_credentials_check",
        ["ALTER TABLE current_credentials DROP CONSTRAINT current_credentials_check"],
    ),
    "a check that is weaker": (
        Flaw.CONSTRAINTS,
        "current_credentials_check",
        [
            (
                "ALTER TABLE current_credentials DROP CONSTRAINT current_credentials_check,"
                " ADD CONSTRAINT current_credentials_check CHECK (true)"
            )
        ],
    ),
    "a check that is added": (
        Flaw.CONSTRAINTS,
        "keyledger_events",
        ["ALTER TABLE keyledger_events ADD CHECK (topic <> 'CredentialDeleted') NOT VALID"],
    ),
    "a reference from elsewhere": (
        Flaw.CONSTRAINTS,
        "keyledger_events",
        ["CREATE TABLE other (p bigint REFERENCES keyledger_events (notification_id))"],
    ),
    "a lock without its row": (
        Flaw.LOCK_ROWS,
        "log",
        ["ALTER TABLE keyledger_locks DISABLE TRIGGER ALL", "DELETE FROM keyledger_locks"],
    ),
}
WARNED = {
    "an index that is gone": (
        Flaw.SLOW_INDEXES,
        "audit_trail_actor_position_idx",
        ["DROP INDEX audit_trail_actor_position_idx"],
    ),
    "an index that is invalid": (
        Flaw.SLOW_INDEXES,
        "credential_usage_hour_idx",
        ["UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'credential_usage_hour_idx'::regclass"],
    ),
    "an event trigger": (
        Flaw.EVENT_TRIGGERS,
        "database",
        [
            "CREATE FUNCTION looks_on() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'",
            "CREATE EVENT TRIGGER zz ON ddl_command_end EXECUTE FUNCTION looks_on()",
        ],
    ),
}
HARMLESS = {
    "another way to write names": [by_default("quote_all_identifiers = on")],
    "an index of the operator's": ["CREATE INDEX zz ON audit_trail (request_id)"],
    "an index with an expression": ["CREATE INDEX zz ON audit_trail (lower(actor)) WHERE reason IS NOT NULL"],
    "a column of the operator's": ["ALTER TABLE audit_trail ADD note text, ADD seen boolean NOT NULL DEFAULT false"],
    "another table": ["CREATE TABLE notes (id int PRIMARY KEY, note text UNIQUE)"],
    "a view over ours": ["CREATE VIEW entries AS SELECT * FROM audit_trail"],
    "a function of another name": ["CREATE FUNCTION of_ours() RETURNS int LANGUAGE sql AS 'SELECT 1'"],
    "storage and statistics": [
        "ALTER TABLE keyledger_events SET (fillfactor = 90, autovacuum_enabled = false)",
        "ALTER TABLE keyledger_events ALTER state SET STORAGE EXTERNAL, ALTER topic SET STATISTICS 500",
        "VACUUM (FREEZE, ANALYZE) keyledger_events",
    ],
    "a schema that is not searched": [
        "CREATE SCHEMA aside",
        "CREATE TABLE aside.audit_trail (LIKE audit_trail INCLUDING ALL)",
    ],
}


def flaws(url: str) -> dict[object, tuple[str, ...]]:
    """The flaws found, but for the role, which is a superuser in these tests."""
    return {one.flaw: one.names for one in check_connection(url).findings if one.flaw not in {None, Flaw.ROLE}}


def administer(url: str, *statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as database:
        for statement in statements:
            database.execute(statement.encode())


@pytest.fixture
def seen_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that differs is said to differ at the first look: none of these tests swaps a table meanwhile."""
    monkeypatch.setattr(import_module("projections.database.attestation.attest"), "_LOOKS", 1)


@pytest.mark.usefixtures("seen_at_once")
@pytest.mark.parametrize("kind", SABOTAGE)
def test_each_sabotage_is_named_by_start_readiness_and_verification(
    database_url: str, tmp_path: Path, kind: str
) -> None:
    flaw, name, statements = SABOTAGE[kind]
    administer(database_url, *statements)
    assert any(name in found for found in flaws(database_url).get(flaw, ())), flaws(database_url)
    with pytest.raises(StartError, match=name):
        prepare_database(database_url)
    with closing(open_pool(database_url)) as pool:
        watch = StoreWatch(pool, lambda: "")
        watch.attest()
    assert not watch.check().ok
    assert f"{flaw}: " in watch.check().text
    assert name in watch.check().text


@pytest.mark.usefixtures("seen_at_once")
@pytest.mark.parametrize("kind", WARNED)
def test_what_does_no_harm_to_the_log_is_a_warning(database_url: str, kind: str) -> None:
    flaw, name, statements = WARNED[kind]
    administer(database_url, *statements)
    assert any(name in found for found in flaws(database_url)[flaw])
    prepare_database(database_url)
    with closing(open_pool(database_url)) as pool:
        watch = StoreWatch(pool, lambda: "", RoleRule.IGNORED)
        watch.attest()
    assert watch.check().ok
    assert f"warning: {flaw}" in watch.check().text


@pytest.mark.parametrize("kind", HARMLESS)
def test_what_an_operator_adds_without_harm_is_no_finding(database_url: str, kind: str) -> None:
    administer(database_url, *HARMLESS[kind])
    assert flaws(database_url) == {}


def test_the_shipped_description_is_what_the_files_make(database_url: str) -> None:
    assert described(database_url) == FILE.read_text(), "run python -m tests.support.shipped_description"


@pytest.fixture(scope="module")
def other_server() -> Iterator[OwnServer]:
    """The PostgreSQL of the system, which is an older one than ours."""
    installed = installed_programs()
    if installed is None:
        pytest.skip("no PostgreSQL is installed (apt-get install postgresql)")
    with own_server(programs=installed) as server:
        yield server


def test_another_postgresql_describes_the_same(other_server: OwnServer) -> None:
    migrate(other_server.url())
    assert described(other_server.url()) == FILE.read_text()
    assert flaws(other_server.url()) == {}


def test_a_dump_that_is_restored_elsewhere_is_as_shipped(
    store: Store, postgres_server: TemplatedServer, tmp_path: Path
) -> None:
    store.set(TENANT, "openai", "sk-live-0123456789")
    store.follow()
    replay_projection(store.url, "audit_trail", swap=Swap.ALWAYS)
    dump = tmp_path / "dump"
    _program("pg_dump", "--format=custom", f"--file={dump}", f"--dbname={store.url}")
    with postgres_server.empty_database() as restored:
        _program("pg_restore", "--exit-on-error", f"--dbname={restored}", str(dump))
        assert flaws(restored) == {}
        assert described(restored) == FILE.read_text()


@pytest.mark.parametrize("projection", PROJECTIONS)
def test_a_replay_leaves_all_as_shipped(store: Store, projection: str) -> None:
    store.set(TENANT, "openai", "sk-live-0123456789")
    for _ in range(2):
        assert replay_projection(store.url, projection, swap=Swap.ALWAYS).swapped
        assert flaws(store.url) == {}


def test_a_replay_under_way_is_no_finding(store: Store) -> None:
    store.set(TENANT, "openai", "sk-live-0123456789")
    with ThreadPoolExecutor(1) as elsewhere, connect(store.url) as connection:
        replays = [elsewhere.submit(replay_projection, store.url, "audit_trail", swap=Swap.ALWAYS) for _ in range(5)]
        while not replays[-1].done():
            assert {one.flaw for one in attest(connection)} == {None, Flaw.ROLE}


def test_the_owner_applies_the_schema_again(database_url: str) -> None:
    for kind in ("an append that inserts nothing", "a trigger that is gone", "a unique index that is gone"):
        administer(database_url, *SABOTAGE[kind][2])
    assert len(flaws(database_url)) == 3
    apply_again(database_url)
    assert flaws(database_url) == {}


def test_a_verification_names_what_is_not_as_shipped(store: Store, tmp_path: Path) -> None:
    store.set(TENANT, "openai", "sk-live-0123456789")
    store.follow()
    verdict = verify_store(store.url, None, tmp_path, lambda step, done, total: None)
    assert (verdict.holds, verdict.unfit) == (True, ())
    administer(store.url, *SABOTAGE["an append that inserts nothing"][2])
    verdict = verify_store(store.url, None, tmp_path, lambda step, done, total: None)
    assert verdict.error is not None
    assert (verdict.holds, verdict.error.part) == (False, "store")
    assert "keyledger_append (body changed)" in verdict.error.meaning


def test_a_newer_release_may_replace_functions_and_add_but_take_nothing(store: Store) -> None:
    watch = StoreWatch(store.pool, lambda: "")
    administer(
        store.url,
        "INSERT INTO keyledger_schema (version) SELECT max(version) + 1 FROM keyledger_schema",
        *SABOTAGE["a lock that locks nothing"][2],
        *SABOTAGE["a check that is added"][2],
    )
    watch.attest()
    assert watch.check().ok
    administer(store.url, *SABOTAGE["a trigger that is off"][2], *SABOTAGE["an unlogged projection"][2])
    watch.attest()
    assert "triggers: keyledger_events" in watch.check().text
    assert "unlogged: current_credentials" in watch.check().text


def test_a_server_that_does_not_wait_for_its_disk_is_refused() -> None:
    with own_server(fsync="off") as server:
        with pytest.raises(StartError, match="fsync is off"):
            prepare_database(server.url())
        migrate(server.url())
        server.run("ALTER SYSTEM SET full_page_writes = off", "SELECT pg_reload_conf()")
        assert flaws(server.url())[Flaw.UNSAFE_SERVER] == ("fsync",)


ROLES = {
    "the rights of the file": ([], []),
    "the owner's role": (
        ["GRANT {owner} TO {role}"],
        ["owns the tables", "owns the functions", "may create in the schema of the tables"],
    ),
    "a right to change the log": (["GRANT UPDATE ON keyledger_events TO {role}"], ["has UPDATE on keyledger_events"]),
    "a right to add triggers": (["GRANT TRIGGER ON audit_trail TO {role}"], ["has TRIGGER on audit_trail"]),
    "a right to make roles": (["ALTER ROLE {role} CREATEROLE"], ["may create roles"]),
    "a right of the server": (
        ["GRANT pg_write_server_files TO {role}"],
        ["may run programs or write files on the server"],
    ),
    "a right to shadow": (["GRANT CREATE ON SCHEMA public TO {role}"], ["may create in the schema of the tables"]),
    "a superuser": (["ALTER ROLE {role} SUPERUSER"], ["is a superuser"]),
}


@pytest.mark.parametrize("kind", ROLES)
def test_a_role_with_more_rights_than_it_needs_is_named_or_refused(
    empty_database_url: str, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    statements, named = ROLES[kind]
    with _roles(empty_database_url) as (owner, role):
        url = make_conninfo(empty_database_url, user=role)
        migrate(make_conninfo(empty_database_url, user=owner))
        for statement in [_grants(role), *statements]:
            administer(empty_database_url, statement.format(owner=owner, role=role))
        findings = [one for one in check_connection(url).findings if one.flaw is not None]
        assert [name for one in findings for name in one.names] == named
        prepare_database(url, role=RoleRule.NAMED)
        assert all(name in caplog.text for name in named)
        if named:
            with pytest.raises(StartError, match=named[0]):
                prepare_database(url, role=RoleRule.REFUSED)
        else:
            prepare_database(url, role=RoleRule.REFUSED)


def _program(name: str, *arguments: str) -> None:
    subprocess.run([str(programs() / name), *arguments], check=True, capture_output=True)


def _grants(role: str) -> str:
    return statements_of("grants.sql").replace("APPLICATION_ROLE", role).replace("{", "{{").replace("}", "}}")


@contextmanager
def _roles(url: str) -> Iterator[tuple[str, str]]:
    """An owner and a serving role. Roles belong to the whole server, so their names are random."""
    names = [f"{kind}_{secrets.token_hex(4)}" for kind in ("owner", "app")]
    with psycopg.connect(url, autocommit=True) as database:
        for name in names:
            database.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(name)))
        try:
            database.execute(sql.SQL("GRANT CREATE ON SCHEMA public TO {}").format(sql.Identifier(names[0])))
            yield names[0], names[1]
        finally:
            for name in reversed(names):
                database.execute(sql.SQL("DROP OWNED BY {} CASCADE").format(sql.Identifier(name)))
                database.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))
