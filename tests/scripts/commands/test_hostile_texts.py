"""Texts that someone wrote into the database past the service: no command and no answer gives them to a terminal."""

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from socketserver import StreamRequestHandler, TCPServer
from threading import Thread
from typing import ClassVar
from uuid import uuid4

import psycopg
import pytest

from domain.events.event import record_stream
from tests.scripts.conftest import Cli
from tests.support.service import ADMIN_KEY, DIRECT_MODELS, Client, client_of, environment, served
from tests.support.unseen import HOSTILE, unseen_in

TENANT = str(uuid4())
FORGED = (
    "actor",
    "reason",
    "role",
    "source",
    "request_id",
    "client_address",
    "masked_key",
    "endpoint",
    "key_id",
    "fingerprint",
)
"""Members of a stored event whose text is free."""


@pytest.fixture
def client(database_url: str, tmp_path: Path) -> Iterator[Client]:
    settings = environment(AI_MODELS_FILE=DIRECT_MODELS, DATA_DIR=str(tmp_path / "data"))
    with ExitStack() as stack:
        yield stack.enter_context(client_of(stack.enter_context(served(database_url, settings))))


@pytest.fixture
def forged(database_url: str, client: Client) -> Client:
    """A service whose log, trail, credentials, usage and nodes hold hostile texts in every column that takes one."""
    assert client.put(TENANT, "openai", api_key="sk-of-the-tenant-aaaa").status_code == 200
    assert client.put(TENANT, "openai", api_key="short").status_code == 422
    assert client.http.get("/api/v1/audit/entries").status_code == 200
    with psycopg.connect(database_url, autocommit=True) as database:
        forge_events(database)
        assert client.http.get("/api/v1/audit/entries").status_code == 200, "the trail caught up with the events"
        for table in ("audit_trail", "current_credentials", "credential_usage", "nodes"):
            forge_columns(database, table)
        forge_rows(database)
    return client


def forge_events(database: psycopg.Connection) -> None:
    """Append copies of the events with other texts, as a role that may insert can."""
    events = database.execute(
        "SELECT originator_id, originator_version, topic, state FROM keyledger_events"
        " WHERE topic IN ('CredentialSet', 'RequestRefused', 'AuditRead') ORDER BY notification_id"
    ).fetchall()
    assert len(events) >= 3
    for stream, version, topic, state in events:
        members = json.loads(bytes(state))
        members |= {name: HOSTILE for name in (*FORGED, "route", "method", "code", "query", "view") if name in members}
        members["command_id"] = str(uuid4())
        place = (stream, version + 1) if topic == "CredentialSet" else (record_stream(members["command_id"]), 1)
        text = json.dumps(members, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        database.execute(
            "SELECT keyledger_append(%s::uuid[], %s::bigint[], %s, %s::bytea[], 'k0123456789', %s::bytea[], NULL,"
            " clock_timestamp(), '[]')",
            ([place[0]], [place[1]], [topic], [text.encode()], [bytes(32)]),
        )


def forge_columns(database: psycopg.Connection, table: str) -> None:
    columns = database.execute(
        "SELECT column_name, is_nullable FROM information_schema.columns WHERE table_name = %s AND data_type = 'text'",
        (table,),
    ).fetchall()
    for column, _ in columns:
        if column in {"action", "outcome", "tenant_id", "provider"}:
            continue
        database.execute(f"UPDATE {table} SET {column} = %s", (HOSTILE,))


def forge_rows(database: psycopg.Connection) -> None:
    """Insert rows of things that the service never did, with a provider that it does not know."""
    of_a_tenant = (str(uuid4()), HOSTILE)
    database.execute("INSERT INTO credential_usage VALUES (%s, %s, 1, now(), 1, 0, now())", of_a_tenant)
    database.execute(
        "INSERT INTO current_credentials VALUES (%s, %s, 1, 'enc', 'x', 'k', '...', NULL, NULL, NULL, now(), %s)",
        (*of_a_tenant, str(uuid4())),
    )
    database.execute(
        "INSERT INTO key_rotations (rotation_id, key_id, actor, state, total, unopened, started_at)"
        " VALUES (%s, %s, %s, 'completed', 1, %s, now())",
        (str(uuid4()), HOSTILE, HOSTILE, json.dumps([[TENANT, HOSTILE, HOSTILE]])),
    )
    database.execute("UPDATE audit_trail SET provider = %s WHERE action = 'request-refused'", (HOSTILE,))


OF_A_SERVICE: Sequence[tuple[str, ...]] = (
    *[("audit", "search", *form) for form in ((), ("--json",), ("--wide",), ("--oldest",), ("smile",))],
    *[("audit", "show", str(position), *form) for position in range(1, 9) for form in ((), ("--json",))],
    *[("audit", "export", "--format", form) for form in ("csv", "jsonl", "ocsf", "cloudevents")],
    ("audit", "export", "--format", "csv", "--bom"),
    *[("audit", "usage", *form) for form in ((), ("--json",))],
    *[("history", TENANT, *form) for form in ((), ("--json",))],
    *[("credentials", "list", TENANT, *form) for form in ((), ("--json",), ("--wide",))],
    *[("credentials", "show", TENANT, "openai", *form) for form in ((), ("--json",))],
    *[("credentials", "find", *form) for form in ((), ("--json",), ("--wide",))],
    *[("tenants", "list", *form) for form in ((), ("--json",))],
    ("credentials", "set", TENANT, HOSTILE.replace("\0", ""), "--stdin"),
)
OF_A_DATABASE: Sequence[tuple[str, ...]] = (
    *[
        (*command, *form)
        for command in (("verify",), ("keys", "list"), ("keys", "verify"))
        for form in ((), ("--json",))
    ],
    *[("projections", "list", *form) for form in ((), ("--json",))],
    *[("replay", "--compare", *form) for form in ((), ("--json",))],
    *[("doctor", "--port", "9", *form) for form in ((), ("--json",), ("--wide",))],
    *[("config", "check", *form) for form in ((), ("--json",))],
)
ROUTES = (
    *("audit/entries", "audit/entries?order=newest", "audit/usage", "sysadmin/tenants", "sysadmin/credentials"),
    *(f"audit/entries/{position}" for position in range(1, 9)),
    *(f"audit/export?format={form}" for form in ("csv", "jsonl", "ocsf", "cloudevents")),
    *(f"sysadmin/tenants/{TENANT}/credentials", f"sysadmin/tenants/{TENANT}/credentials/openai"),
    *("sysadmin/encryption-keys", "sysadmin/encryption-keys/rotations", "sysadmin/projections"),
)


def test_no_command_and_no_answer_of_a_service_holds_a_hostile_text(forged: Client, cli: Cli) -> None:
    env = {"KEYLEDGER_URL": str(forged.http.base_url), "KEYLEDGER_API_KEY": ADMIN_KEY}
    shown = {" ".join(words): cli(*words, env=env, stdin="sk-a-key-0123456789") for words in OF_A_SERVICE}
    unsafe = {words: unseen_in(ended.out + ended.err, "\r\n") for words, ended in shown.items()}
    answers = {route: forged.http.get(f"/api/v1/{route}") for route in ROUTES}
    unsafe |= {route: unseen_in(answer.text, "\r\n") for route, answer in answers.items()}
    assert {words for words, found in unsafe.items() if found - {"\ufeff"} or (found and "bom" not in words)} == set()
    assert sum("[bold]" in ended.out for ended in shown.values()) > len(shown) / 2, "the texts were shown"
    entry = json.loads(shown["audit search --json"].out)["entries"][-1]
    assert entry["actor"] == HOSTILE, "as data, the text is the one that was stored"


def test_no_command_that_reads_the_database_holds_a_hostile_text(
    forged: Client, cli: Cli, database_url: str, tmp_path: Path
) -> None:
    env = environment(AI_MODELS_FILE=DIRECT_MODELS, DATABASE_URL=database_url, DATA_DIR=str(tmp_path / "data"))
    env |= {"AUDIT_REASON_REQUIRED": "true", "TRUSTED_PROXY_HEADER": "forwarded"}
    shown = {" ".join(words): cli(*words, env=env) for words in OF_A_DATABASE}
    assert {words for words, ended in shown.items() if unseen_in(ended.out + ended.err, "\n")} == set()
    assert all(ended.out + ended.err for ended in shown.values())


class Hostile(StreamRequestHandler):
    """Answers each request with a document that is a problem and a success, made of hostile texts."""

    status: ClassVar[int] = 200

    def handle(self) -> None:
        length = 0
        while line := self.rfile.readline().strip():
            if line.lower().startswith(b"content-length:"):
                length = int(line.split()[1])
        self.rfile.read(length)
        errors = [{"field": HOSTILE, "detail": HOSTILE}]
        problem = {"code": HOSTILE, "title": HOSTILE, "detail": f"x\nkeyledger: {HOSTILE}", "errors": errors}
        success = {"message": HOSTILE, "warnings": [HOSTILE], "changed": [HOSTILE], "needs_restart": [HOSTILE]}
        body = json.dumps({**problem, **success}, ensure_ascii=False).encode()
        head = f"HTTP/1.1 {self.status} -\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        self.wfile.write(head.encode() + body)


@pytest.mark.parametrize("status", [200, 403, 503])
def test_the_texts_of_a_hostile_server_are_shown_and_begin_no_line(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.setattr(Hostile, "status", status)
    with TCPServer(("127.0.0.1", 0), Hostile) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        env = {"KEYLEDGER_URL": f"http://127.0.0.1:{server.server_address[1]}", "KEYLEDGER_API_KEY": ADMIN_KEY}
        for words in (*OF_A_SERVICE, ("reload",), ("credentials", "delete", TENANT, "openai", "--yes")):
            ended = cli(*words, env=env, stdin="sk-a-key-0123456789")
            assert unseen_in(ended.out + ended.err, "\n") == set(), words
            assert f"\nkeyledger: {HOSTILE[:3]}" not in ended.err
        server.shutdown()
