"""The service under a database role that owns nothing and has the rights of `grants.sql`: all of it works, and the log
is out of its reach."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from domain.events.event import CommandMeta
from keyledger.encryption.keyring import Keyring
from keyledger.encryption.rotation import Rotator
from projections.replay.replaying import PROJECTIONS, Swap, replay_projection
from scripts.demo.stand_in_provider import StandInProvider
from tests.docs.test_commands import blocks, folder, furnished, run
from tests.support.checker import check
from tests.support.postgres import TemplatedServer, programs
from tests.support.service import SHIPPED_MODELS, client_of, environment, served
from tests.support.store import ENCRYPTION_KEY, OTHER_ENCRYPTION_KEY, open_store

__all__ = ["folder"]

TENANT = str(uuid4())
GRANTED = {
    "keyledger_schema": {"SELECT"},
    "keyledger_ledger": {"SELECT"},
    "keyledger_locks": {"SELECT", "UPDATE"},
    "keyledger_events": {"SELECT", "INSERT"},
    "event_forms": {"SELECT", "INSERT"},
    "current_credentials": {"SELECT", "INSERT", "UPDATE"},
    "access_keys": {"SELECT", "INSERT", "UPDATE"},
    "tenants": {"SELECT", "INSERT", "UPDATE"},
    "audit_trail": {"SELECT", "INSERT"},
    "projection_positions": {"SELECT", "INSERT", "UPDATE"},
    "nodes": {"SELECT", "INSERT", "UPDATE", "DELETE"},
    "key_rotations": {"SELECT", "INSERT", "UPDATE"},
    "projection_replays": {"SELECT", "INSERT", "UPDATE"},
    "transparency_log": {"SELECT", "INSERT", "UPDATE"},
    "credential_usage": {"SELECT", "INSERT", "UPDATE"},
    "access_key_usage": {"SELECT", "INSERT", "UPDATE"},
    "token_usage": {"SELECT", "INSERT", "UPDATE"},
    "access_key_budgets": {"SELECT", "INSERT", "UPDATE"},
    "people": {"SELECT", "INSERT", "UPDATE"},
    "personal_keys": {"SELECT", "INSERT", "DELETE"},
    "ledger_secret": {"SELECT", "INSERT", "DELETE"},
}


@dataclass(frozen=True)
class Roles:
    """One database as the role that owns the tables and as the one that serves."""

    owner_url: str
    service_url: str
    service_role: str


@contextmanager
def granted(empty_database_url: str, folder: Path) -> Iterator[Roles]:
    """A database made and granted as the document says. Roles belong to the whole server, so their names are random."""
    owner, service, password = f"owner_{secrets.token_hex(4)}", f"app-{secrets.token_hex(4)}", secrets.token_hex(16)
    owner_url, service_url = (
        make_conninfo(empty_database_url, user=user, password=password) for user in (owner, service)
    )
    with psycopg.connect(empty_database_url, autocommit=True) as database:
        for user in (owner, service):
            create = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}")
            database.execute(create.format(sql.Identifier(user), sql.Literal(password)))
        database.execute(sql.SQL("GRANT USAGE, CREATE ON SCHEMA public TO {}").format(sql.Identifier(owner)))
        try:
            (made,) = blocks("docs/operations.md", "PostgreSQL")
            given = f"export PATH={programs()}:$PATH OWNER_DATABASE_URL='{owner_url}'\n"
            run(given + made.replace("keyledger_app", service), folder)
            yield Roles(owner_url, service_url, service)
        finally:
            for user in (service, owner):
                database.execute(sql.SQL("DROP OWNED BY {} CASCADE").format(sql.Identifier(user)))
                database.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(user)))


@pytest.fixture
def roles(empty_database_url: str, folder: Path) -> Iterator[Roles]:
    with granted(empty_database_url, folder) as made:
        yield made


@pytest.fixture(scope="module")
def shared_roles(postgres_server: TemplatedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Roles]:
    """One database for the tests that only try what is refused."""
    with (
        postgres_server.empty_database() as url,
        granted(url, furnished(tmp_path_factory.mktemp("granted"))) as made,
    ):
        yield made


def test_the_service_works_with_the_rights_of_the_file(roles: Roles) -> None:
    with StandInProvider(accepted=lambda key: True) as provider:
        settings = environment(
            AI_MODELS_FILE=SHIPPED_MODELS,
            OPENAI_API_BASE=provider.url,
            ENDPOINT_ALLOWED_HOSTS=urlsplit(provider.url).netloc,
        )
        with served(roles.service_url, settings) as url, client_of(url) as client:
            for key in ("sk-first-0123456789", "sk-second-0123456789"):
                assert client.put(TENANT, "openai", api_key=key).status_code == 200
                assert client.chat(TENANT, "gpt-4o").status_code == 200
            assert client.delete(TENANT, "openai").status_code == 200
            assert client.chat(TENANT, "gpt-4o").json()["code"] == "no-credential"
            entries = client.http.get(f"/api/v1/audit/entries?tenant_id={TENANT}").json()["entries"]
            assert [entry["action"] for entry in entries] == ["set", "replaced", "deleted"]
            keys = client.http.get("/api/v1/sysadmin/encryption-keys")
            assert keys.status_code == 200, keys.text
            readiness = client.http.get("/readyz")
            assert readiness.status_code == 200, readiness.text
        assert [request.key for request in provider.requests] == ["sk-first-0123456789", "sk-second-0123456789"]


def test_the_serving_role_rotates_and_the_owner_replays(roles: Roles) -> None:
    with open_store(roles.service_url) as store:
        store.set(TENANT, "openai", "sk-first-0123456789")
    both, meta = Keyring(OTHER_ENCRYPTION_KEY, [ENCRYPTION_KEY]), CommandMeta("olga", "req-1", "rotation")
    with open_store(roles.service_url, both) as store:
        rotator = Rotator(store.pool, store.log, store.keyring, lambda: datetime.now(UTC))
        assert rotator.run(rotator.begin(meta), meta, lambda progress: True).counts.reencrypted == 1
        for view in PROJECTIONS:
            assert replay_projection(roles.owner_url, view, swap=Swap.ALWAYS).difference_count == 0
        store.set(TENANT, "openai", "sk-second-0123456789")
        assert store.audit(tenant_id=TENANT)[-1].version == 3, "the rights on the views are those from before"
    with open_store(roles.owner_url, both) as store:
        check(store)


def test_the_serving_role_has_exactly_these_rights(shared_roles: Roles) -> None:
    with psycopg.connect(shared_roles.owner_url) as database:
        found: dict[str, set[str]] = {table: set() for (table,) in database.execute(_TABLES).fetchall()}
        for table, right in database.execute(_RIGHTS, [shared_roles.service_role]).fetchall():
            found[table].add(right)
    assert found == GRANTED, "a new table needs its line in grants.sql, or a service under such a role would not start"


_TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()"
_RIGHTS = "SELECT table_name, privilege_type FROM information_schema.role_table_grants WHERE grantee = %s"

REFUSED = [
    "UPDATE keyledger_events SET topic = topic",
    "DELETE FROM keyledger_events",
    "TRUNCATE keyledger_events",
    "ALTER TABLE keyledger_events DISABLE TRIGGER keyledger_events_append_only",
    "DROP TRIGGER keyledger_events_append_only ON keyledger_events",
    "CREATE OR REPLACE FUNCTION keyledger_refuse_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
    "ALTER TABLE keyledger_events ADD COLUMN more text",
    "DROP TABLE keyledger_events",
    "SET session_replication_role = replica",
    "UPDATE keyledger_locks SET name = 'another'",
    "DELETE FROM keyledger_locks",
    "UPDATE keyledger_ledger SET ledger_id = gen_random_uuid()",
    "DELETE FROM audit_trail",
    "UPDATE audit_trail SET actor = 'no one'",
    "DELETE FROM current_credentials",
    "CREATE TABLE own (n int)",
]


@pytest.mark.parametrize("statement", REFUSED)
def test_the_serving_role_is_refused(shared_roles: Roles, statement: str) -> None:
    tenant = str(uuid4())
    with open_store(shared_roles.service_url) as store:
        store.set(tenant, "openai", "sk-first-0123456789")
        with store.superuser() as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(statement.encode())
        unchanged = store.audit(tenant_id=tenant)
    assert [entry.version for entry in unchanged] == [1]
