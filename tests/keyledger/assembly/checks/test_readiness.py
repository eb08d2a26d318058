"""`/readyz` tells what is wrong, by name, and `/livez` does not depend on any of it."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import psycopg
import pytest

from keyledger.llm.adapters.litellm import LiteLLMAdapter
from projections.database.attestation import attest
from projections.database.connections import Connection
from projections.database.findings import Finding
from tests.support.service import SHIPPED_MODELS, client_of, environment, served
from tests.support.store import open_store

TENANT = "11111111-1111-4111-8111-111111111111"


def test_a_service_that_is_well_is_ready(database_url: str, tmp_path: Path) -> None:
    with served(database_url, of_one_model(tmp_path, "family: openai")) as url, client_of(url) as client:
        answer = client.http.get("/readyz")
        assert answer.status_code == 200
        checks = answer.json()["checks"]
    assert {name for name, check in checks.items() if check["ok"]} == {
        "database",
        "lease",
        "clock",
        "writes",
        "schema",
        "log",
        "event_codes",
        "store",
        "encryption_keys",
        "audit_trail",
        "transparency_log",
        "catalogue",
        "models",
    }
    assert checks["models"]["text"] == "no model needs LiteLLM"


def test_a_swallowed_append_is_not_acknowledged_and_ends_readiness(database_url: str, tmp_path: Path) -> None:
    swallow = (
        "CREATE OR REPLACE FUNCTION keyledger_append(streams uuid[], versions bigint[], topics text[], states bytea[],"
        " code_key_id text, codes bytea[], earliest text, node_time timestamptz,"
        " view_rows jsonb) RETURNS SETOF bigint LANGUAGE sql AS 'SELECT unnest(versions)'"
    )
    settings = of_one_model(tmp_path, "family: openai")
    with served(database_url, settings) as url, client_of(url) as client:
        assert client.http.get("/readyz").json()["checks"]["store"]["ok"]
        with psycopg.connect(database_url, autocommit=True) as database:
            database.execute(swallow)
        answer = client.put(TENANT, "openai", api_key="sk-live-0123456789")
        assert (answer.status_code, answer.json()["code"]) == (500, "credential-integrity")
        answer = client.http.get("/readyz")
        assert answer.status_code == 503
        assert "not kept" in answer.json()["checks"]["store"]["text"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("ALTER TABLE audit_trail SET UNLOGGED", "unlogged: audit_trail"),
        ("DROP INDEX keyledger_events_notification_id_idx", "indexes: keyledger_events_notification_id_idx (missing)"),
    ],
)
def test_a_running_service_finds_within_its_next_attestation_what_was_changed(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str, said: str
) -> None:
    monkeypatch.setattr("keyledger.store_attestation.watch.TICK_S", 0.05)
    settings = of_one_model(tmp_path, "family: openai")
    with served(database_url, settings) as url, client_of(url) as client:
        with psycopg.connect(database_url, autocommit=True) as database:
            database.execute(change.encode())
        while (answer := client.http.get("/readyz")).status_code == 200:
            pass
    assert said in answer.json()["checks"]["store"]["text"]


def test_the_start_attests_the_store_once_and_readiness_begins_with_what_it_found(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    attested, index = [], "audit_trail_actor_position_idx"

    def counted(connection: Connection, *, newer: bool = False) -> Sequence[Finding]:
        attested.append(newer)
        return attest(connection, newer=newer)

    for place in ("keyledger.store_attestation.watch", "projections.database.connection_check"):
        monkeypatch.setattr(f"{place}.attest", counted)
    with psycopg.connect(database_url, autocommit=True) as database:
        database.execute(f"DROP INDEX {index}".encode())
    with served(database_url, of_one_model(tmp_path, "family: openai")) as url, client_of(url) as client:
        checks = client.http.get("/readyz").json()["checks"]
    assert checks["store"] == {"ok": True, "text": f"as shipped; warning: slow-indexes: {index} (missing)"}
    assert attested == [False]
    assert caplog.text.count(index) == 1, "it is named once"


def of_one_model(folder: Path, how: str) -> dict[str, str]:
    """Settings with a catalogue of one model."""
    catalogue = folder / "models.yml"
    catalogue.write_text(f"completion_models:\n- {{name: gpt-4o, {how}}}\n")
    return environment(AI_MODELS_FILE=str(catalogue))


def test_a_service_whose_models_are_still_loading_lives_and_is_not_ready(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never_ends(_adapter: LiteLLMAdapter) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(LiteLLMAdapter, "warm_up", never_ends)
    monkeypatch.setattr(LiteLLMAdapter, "ready", False)
    settings = of_one_model(tmp_path, "litellm_model_name: openai/gpt-4o")
    with served(database_url, settings) as url, client_of(url) as client:
        assert client.http.get("/livez").status_code == 200
        answer = client.http.get("/readyz")
    assert answer.status_code == 503
    checks = answer.json()["checks"]
    assert checks["models"] == {"ok": False, "text": "loading"}
    assert [name for name, check in checks.items() if not check["ok"]] == ["models"]


def test_a_missing_encryption_key_is_named_with_how_many_need_it(database_url: str) -> None:
    with served(database_url, environment()) as url, client_of(url) as client:
        with open_store(database_url) as store:
            store.set(TENANT, "openai", "sk-live-0123456789")
        with psycopg.connect(database_url, autocommit=True) as database:
            database.execute("UPDATE current_credentials SET key_id = 'k0123456789'")
        answer = client.http.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["checks"]["encryption_keys"] == {"ok": False, "text": "k0123456789 is missing for 1"}


def test_an_event_that_stops_the_audit_trail_is_shown_with_its_position(database_url: str) -> None:
    with served(database_url, environment()) as url, client_of(url) as client:
        with psycopg.connect(database_url, autocommit=True) as database:
            database.execute(
                "INSERT INTO keyledger_events SELECT gen_random_uuid(), 1, 'CredentialRenamed', '{}',"
                " max(notification_id) + 1 FROM keyledger_events"
            )
        entries = client.http.get("/api/v1/audit/entries")
        assert entries.status_code == 500
        assert entries.json()["code"] == "credential-integrity"
        shown: dict[str, object] = {}
        while shown.get("ok", True):  # until the background has met it
            shown = client.http.get("/readyz").json()["checks"]["audit_trail"]
    assert "event-topic-unknown at position 4" in str(shown["text"])


def test_an_outage_of_the_database_ends_readiness_and_not_life(database_url: str) -> None:
    with served(database_url, environment(AI_MODELS_FILE=SHIPPED_MODELS)) as url, client_of(url) as client:
        with psycopg.connect(database_url, autocommit=True) as database:
            database.execute("UPDATE pg_database SET datallowconn = false WHERE datname = current_database()")
            database.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        assert client.http.get("/livez").status_code == 200
        assert client.http.get("/readyz").status_code == 503
        refused = client.put(TENANT, "openai", api_key="sk-live-0123456789")
        assert (refused.status_code, refused.json()["code"]) == (503, "store-unavailable")
        assert int(refused.headers["retry-after"]) > 0
        assert client.chat(TENANT, "gpt-4o").json()["code"] == "store-unavailable", (
            "no key is used, not even a global one"
        )
