"""Replays that a running service carries out, asked for over HTTP."""

import threading
from datetime import UTC, datetime
from uuid import uuid4

import httpx
import psycopg
import pytest

from domain.errors import ErrorCode
from domain.events.event import CommandMeta
from domain.operations.replay import ReplayState, ReplayStatus, Swap
from keyledger.replay import replay_service as replays
from keyledger.replay.replay_service import ReplayService
from tests.support.errors import raises
from tests.support.service import Client, client_of, environment, served
from tests.support.store import Store, open_store, replay_elsewhere

TENANT = "11111111-1111-4111-8111-111111111111"
KEY = "sk-live-0123456789"
VIEW_NAMES = ["current_credentials", "access_keys", "tenants", "audit_trail", "transparency_log"]
PROJECTIONS = "/api/v1/sysadmin/projections"
META = CommandMeta("olga", "req-1", "cmd-1")


def now() -> datetime:
    return datetime.now(UTC)


def ended(client: Client, begun: httpx.Response) -> dict[str, object]:
    """The status of a replay once it is over."""
    assert begun.status_code == 202, begun.text
    found: dict[str, object] = begun.json()
    while found["state"] == "running":
        found = client.http.get(begun.headers["Location"]).json()
    return found


def test_a_service_replays_both_views_while_it_serves(database_url: str) -> None:
    with served(database_url, environment()) as url, client_of(url) as client:
        client.put(TENANT, "openai", api_key=KEY)
        for view in VIEW_NAMES:
            found = ended(client, client.http.post(f"{PROJECTIONS}/{view}/replays"))
            assert (found["state"], found["failure"], found["actor"]) == ("completed", None, "super")
            result = found["result"]
            assert isinstance(result, dict)
            assert (result["difference_count"], result["swapped"]) == (0, True)
        assert client.put(TENANT, "openai", api_key=KEY + "2").json()["version"] == 2
        listed = client.http.get(PROJECTIONS).json()["projections"]
    assert [one["name"] for one in listed] == VIEW_NAMES
    assert {one["state"] for one in listed} == {"live"}


def test_a_view_that_differs_is_named_and_put_right_only_when_told(database_url: str) -> None:
    with served(database_url, environment()) as url, client_of(url) as client:
        client.put(TENANT, "openai", api_key=KEY)
        with psycopg.connect(database_url, autocommit=True) as database:
            database.execute("UPDATE current_credentials SET endpoint = 'https://evil.example.com'")
        replaying = f"{PROJECTIONS}/current_credentials/replays"
        found = ended(client, client.http.post(replaying))["result"]
        assert isinstance(found, dict)
        assert (found["swapped"], found["differences"]) == (
            False,
            [{"what": "changed", "tenant_id": TENANT, "provider": "openai", "position": None}],
        )
        assert client.http.get(f"/api/v1/sysadmin/tenants/{TENANT}/credentials/openai").json()["config"] != {}
        found = ended(client, client.http.post(replaying, json={"swap_when_different": True}))["result"]
        assert isinstance(found, dict)
        assert found["swapped"] is True
        assert client.http.get(f"/api/v1/sysadmin/tenants/{TENANT}/credentials/openai").json()["config"] == {}


def test_the_same_command_sent_twice_is_one_replay(database_url: str) -> None:
    with served(database_url, environment()) as url, client_of(url) as client:
        headers = {"Idempotency-Key": "once"}
        first, again = (client.http.post(f"{PROJECTIONS}/audit_trail/replays", headers=headers) for _ in range(2))
        assert first.headers["Location"] == again.headers["Location"]
        ended(client, first)


def test_an_event_that_is_not_understood_fails_a_replay_with_its_position_and_topic(database_url: str) -> None:
    with served(database_url, environment()) as url, client_of(url) as client:
        with psycopg.connect(database_url, autocommit=True) as database:
            row = database.execute("SELECT coalesce(max(notification_id), 0) + 1 FROM keyledger_events").fetchone()
            assert row is not None
            database.execute(
                "INSERT INTO keyledger_events VALUES (gen_random_uuid(), 1, 'CredentialRenamed', '{}', %s)", row
            )
        said = f"event-topic-unknown at position {row[0]}, topic CredentialRenamed"
        found = ended(client, client.http.post(f"{PROJECTIONS}/audit_trail/replays"))
        assert found["state"] == "failed"
        assert said in str(found["failure"])
        shown: dict[str, object] = {}
        while shown.get("ok", True):  # until the background has met it
            shown = client.http.get("/readyz").json()["checks"]["audit_trail"]
        assert said in str(shown["text"])
        views = client.http.get(PROJECTIONS).json()["projections"]
        (trail,) = (view for view in views if view["name"] == "audit_trail")
        assert (trail["state"], trail["reason"], trail["position"]) == ("stopped", said, row[0] - 1)


def wait_for_end(operator: ReplayService, begun: ReplayStatus) -> ReplayStatus:
    while (found := operator.replay(begun.projection, begun.replay_id)).state is ReplayState.RUNNING:
        pass
    return found


def test_a_replay_that_runs_elsewhere_is_a_conflict_and_answered_for_here(store: Store) -> None:
    here = ReplayService(store.pool, store.url, store.log, now)
    running = raises(ErrorCode.REPLAY_CONFLICT, match="audit_trail is already running")
    with replay_elsewhere(store.url, "audit_trail"), running:
        here.start("audit_trail", Swap.IF_EQUAL, META)
    begun = here.start("audit_trail", Swap.IF_EQUAL, META)
    with open_store(store.url) as another:
        assert (
            wait_for_end(ReplayService(another.pool, another.url, another.log, now), begun).state
            is ReplayState.COMPLETED
        )


def test_a_service_that_ends_stops_its_replay_and_leaves_the_live_view(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.set(TENANT, "openai", KEY)
    at_work, go_on = threading.Event(), threading.Event()
    told = replays._Run.progress

    def held(run: replays._Run, done: int, total: int) -> None:
        at_work.set()
        go_on.wait()
        told(run, done, total)

    monkeypatch.setattr(replays._Run, "progress", held)
    operator = ReplayService(store.pool, store.url, store.log, now)
    begun = operator.start("audit_trail", Swap.ALWAYS, META)
    at_work.wait()
    with raises(ErrorCode.REPLAY_CONFLICT, match="already"):
        operator.start("current_credentials", Swap.ALWAYS, META)
    stopping = threading.Thread(target=operator.stop)
    stopping.start()
    while not (operator._run and operator._run.stop.is_set()):
        pass
    go_on.set()
    stopping.join()
    assert operator.replay("audit_trail", begun.replay_id).state is ReplayState.INTERRUPTED
    with store.superuser() as database:
        assert database.execute("SELECT to_regclass('audit_trail_shadow') AS left").fetchone() == {"left": None}


def test_a_replay_whose_service_was_killed_reads_as_interrupted(store: Store) -> None:
    operator, replay_id = ReplayService(store.pool, store.url, store.log, now), str(uuid4())
    with store.superuser() as database:
        database.execute(
            "INSERT INTO projection_replays (replay_id, projection, actor, swap, state, updated_at)"
            " VALUES (%s, 'audit_trail', 'olga', 'never', 'running', now() - interval '1 minute')",
            [replay_id],
        )
    found = operator.replay("audit_trail", replay_id)
    assert (found.state, found.finished_at) == (ReplayState.INTERRUPTED, found.updated_at)
