"""An event that no holder of a key wrote turns a running service not ready, and is in no checkpoint and no evidence."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from domain.credentials.credential import CredentialDeleted, stream_id
from domain.event_codec import encode
from domain.events.event import CommandMeta, envelope, utc_now
from keyledger.assembly.for_commands.key_operation import key_operation
from keyledger.assembly.for_commands.privacy_operation import privacy_operation
from keyledger.log.anchors.anchor import AnchorFile
from keyledger.proofs.signing_keys import generate_signing_key
from tests.support.service import Client, client_of, environment, served

TENANT = str(uuid4())
CODES = [
    pytest.param(None, None, "event-code-missing", id="without a code"),
    pytest.param("k0123456789", bytes(32), "event-code-under-a-key-that-is-not-configured", id="of an unknown key"),
    pytest.param("own", bytes(32), "event-code-wrong", id="that is wrong"),
]


def forge(database_url: str, key_id: str | None, code: bytes | None) -> int:
    """Append a deletion as a role that may insert can. Returns its position."""
    stream = stream_id(TENANT, "openai")
    members = envelope(stream, 2, CommandMeta("alice", "req-9", "cmd-9"), utc_now())
    event = CredentialDeleted(**members, tenant_id=TENANT, provider="openai")
    with psycopg.connect(database_url, autocommit=True) as database:
        own, head = (
            database.execute("SELECT max(code_key_id), max(notification_id) FROM keyledger_events").fetchone() or ()
        )
        database.execute(
            "INSERT INTO keyledger_events VALUES (%s, 2, %s, %s, %s, %s, %s)",
            [stream, event.TOPIC, encode(event), head + 1, own if key_id == "own" else key_id, code],
        )
    return int(head) + 1


def checks(client: Client) -> dict[str, dict[str, object]]:
    found = client.http.get("/readyz").json()["checks"]
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize(("key_id", "code", "said"), CODES)
def test_a_forged_event_is_named_and_vouched_for_by_no_node(
    database_url: str, key_id: str | None, code: bytes | None, said: str
) -> None:
    settings = environment(AUDIT_SIGNING_KEY=generate_signing_key("log.test").reveal())
    with served(database_url, settings) as url, client_of(url) as client:
        assert client.put(TENANT, "openai", api_key="sk-live-0123456789").status_code == 200
        signed = client.http.get("/api/v1/audit/checkpoint")
        assert signed.status_code == 200
        assert checks(client)["event_codes"] == {"ok": True, "text": "checked"}
        position = forge(database_url, key_id, code)
        found = checks(client)["event_codes"]
        assert found["ok"] is False
        assert f"{said} at position {position}" in str(found["text"])
        assert client.http.get("/readyz").status_code == 503
        refused = client.http.get("/api/v1/audit/checkpoint")
        assert (refused.status_code, refused.json()["code"]) == (500, "checkpoint-refused")
        assert f"at position {position}" in refused.json()["detail"]


@pytest.mark.parametrize(("key_id", "code", "said"), CODES)
def test_a_node_that_starts_after_it_says_so_too(
    database_url: str, tmp_path_factory: pytest.TempPathFactory, key_id: str | None, code: bytes | None, said: str
) -> None:
    settings = environment(DATA_DIR=str(tmp_path_factory.mktemp("data")))
    with served(database_url, settings) as url, client_of(url) as client:
        assert client.put(TENANT, "openai", api_key="sk-live-0123456789").status_code == 200
    position = forge(database_url, key_id, code)
    if said.endswith("not-configured"):
        settings["ALLOW_UNREADABLE_CREDENTIALS"] = "true"  # the start would be refused: its last event needs that key
        with served(database_url, settings) as url, client_of(url) as client:
            assert checks(client)["event_codes"]["ok"], "the operator declared the key lost"
        return
    with served(database_url, settings) as url, client_of(url) as client:
        assert f"{said} at position {position}" in str(checks(client)["event_codes"]["text"])


@pytest.mark.parametrize(("key_id", "code", "said"), CODES)
def test_no_start_begins_after_a_forged_event(
    database_url: str, tmp_path_factory: pytest.TempPathFactory, key_id: str | None, code: bytes | None, said: str
) -> None:
    settings = environment(DATA_DIR=str(tmp_path_factory.mktemp("data")))
    with served(database_url, settings) as url, client_of(url) as client:
        assert client.put(TENANT, "openai", api_key="sk-live-0123456789").status_code == 200
        position = forge(database_url, key_id, code)
        assert not checks(client)["event_codes"]["ok"]
        assert client.put(str(uuid4()), "openai", api_key="sk-live-0123456789").status_code == 200
    for _ in range(2):
        with served(database_url, settings) as url, client_of(url) as client:
            assert f"{said} at position {position}" in str(checks(client)["event_codes"]["text"])


@pytest.mark.parametrize("operation", [key_operation, privacy_operation])
def test_no_command_moves_the_anchor_past_a_forged_event(
    database_url: str, tmp_path: Path, operation: Callable[[Mapping[str, str], None], AbstractContextManager[object]]
) -> None:
    settings = environment(DATABASE_URL=database_url, DATA_DIR=str(tmp_path))
    with served(database_url, settings) as url, client_of(url) as client:
        assert client.put(TENANT, "openai", api_key="sk-live-0123456789").status_code == 200
    known = AnchorFile(tmp_path).read()
    assert known is not None
    forge(database_url, "own", bytes(32))
    with operation(settings, None):
        pass
    assert AnchorFile(tmp_path).read() == known
