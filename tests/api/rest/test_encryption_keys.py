"""Encryption keys over HTTP: the list, and rotations that are started, watched and cancelled."""

import json

import pytest

from api.rest import rotation_events
from domain.access.roles import Role
from domain.errors import StoreUnavailableError
from domain.operations.rotation import RotationState
from tests.api.conftest import KEYS

PATH = "/api/v1/sysadmin/encryption-keys"
ROTATIONS = f"{PATH}/rotations"
UNKNOWN = "3f6f6c1e-52a9-4a0b-8b0c-2d9d6a7b1c55"
READS = [PATH, ROTATIONS, f"{ROTATIONS}/{UNKNOWN}", f"{ROTATIONS}/{UNKNOWN}/events"]
WRITES = [ROTATIONS, f"{ROTATIONS}/{UNKNOWN}/cancel"]


def events_of(text):
    """Return each event as its name, id and data."""
    found = []
    for block in text.strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if fields:
            found.append((fields["event"], int(fields.get("id", 0)), json.loads(fields["data"])))
    return found


def test_the_list_says_which_key_may_go_and_why(harness):
    answer = harness.client.get(PATH)
    assert answer.status_code == 200
    assert answer.json()["keys"][1] == {
        "key_id": "k0000000002",
        "state": "previous",
        "introduced_at": "2026-01-31T12:00:00Z",
        "retired_at": None,
        "live": 0,
        "superseded": 3,
        "safe_to_remove": True,
        "reason": "no live credential needs it",
    }


def test_a_rotation_is_begun_and_found_where_the_answer_says(harness):
    harness.keys.held = True
    begun = harness.client.post(ROTATIONS, headers={"X-API-Key": KEYS[Role.OPERATOR]})
    assert begun.status_code == 202
    assert begun.headers["Location"] == f"{ROTATIONS}/{begun.json()['rotation_id']}"
    assert harness.client.get(begun.headers["Location"]).json() == begun.json()
    assert (begun.json()["state"], begun.json()["actor"], begun.json()["finished_at"]) == (
        "running",
        "operator-1",
        None,
    )


def test_one_that_ended_says_what_it_did(harness):
    begun = harness.client.post(ROTATIONS).json()
    shown = harness.client.get(f"{ROTATIONS}/{begun['rotation_id']}").json()
    assert {name: shown[name] for name in ("state", "total", "done", "reencrypted", "skipped", "failed")} == {
        "state": "completed",
        "total": 2,
        "done": 2,
        "reencrypted": 1,
        "skipped": 0,
        "failed": 1,
    }
    assert [(one["provider"], one["reason"]) for one in shown["unopened"]] == [("openai", "binding")]


def test_the_newest_rotation_is_listed_first(harness):
    ids = [harness.client.post(ROTATIONS).json()["rotation_id"] for _ in range(3)]
    listed = harness.client.get(ROTATIONS).json()["rotations"]
    assert [one["rotation_id"] for one in listed] == ids[::-1]


def test_what_stands_in_the_way_is_a_409(harness):
    harness.keys.obstacle = "The service host:1 does not know the key k0000000001."
    answer = harness.client.post(ROTATIONS)
    assert (answer.status_code, answer.json()["code"]) == (409, "rotation-refused")
    assert "host:1" in answer.json()["detail"]


def test_a_cancelled_rotation_says_so_and_cancelling_again_changes_nothing(harness):
    harness.keys.held = True
    location = harness.client.post(ROTATIONS).headers["Location"]
    first = harness.client.post(f"{location}/cancel")
    assert (first.status_code, first.json()["state"]) == (202, "cancelled")
    assert harness.client.post(f"{location}/cancel").json() == first.json()


def test_the_events_of_one_that_ended_are_its_end(harness):
    location = harness.client.post(ROTATIONS).headers["Location"]
    answer = harness.client.get(f"{location}/events")
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    ((name, number, data),) = events_of(answer.text)
    assert (name, data) == ("done", harness.client.get(location).json())
    assert number > 0


def test_events_follow_a_rotation_to_its_end(harness, monkeypatch):
    monkeypatch.setattr(rotation_events, "LOOK_S", 0)
    monkeypatch.setattr(rotation_events, "QUIET_LOOKS", 2)
    harness.keys.held = True
    location = harness.client.post(ROTATIONS).headers["Location"]
    looks, look = [], harness.keys.rotation

    def later(rotation_id):
        looks.append(rotation_id)
        if len(looks) == 6:
            harness.keys.end(rotation_id, RotationState.INTERRUPTED)
        return look(rotation_id)

    monkeypatch.setattr(harness.keys, "rotation", later)
    text = harness.client.get(f"{location}/events").text
    (first, first_id, running), (last, last_id, ended) = events_of(text)
    assert (first, running["state"], last, ended["state"]) == ("progress", "running", "done", "interrupted")
    assert first_id < last_id
    assert ": nothing new" in text


def test_a_store_that_goes_away_ends_the_events_with_an_error(harness, monkeypatch):
    monkeypatch.setattr(rotation_events, "LOOK_S", 0)
    harness.keys.held = True
    location = harness.client.post(ROTATIONS).headers["Location"]
    answers = [harness.keys.rotation(location.rpartition("/")[2])]

    def gone(rotation_id):
        if not answers:
            raise StoreUnavailableError
        return answers.pop()

    monkeypatch.setattr(harness.keys, "rotation", gone)
    *_, (name, _, data) = events_of(harness.client.get(f"{location}/events").text)
    assert (name, data["code"]) == ("error", "store-unavailable")


@pytest.mark.parametrize("path", [*READS[2:], WRITES[1]])
def test_a_rotation_that_nobody_began_is_a_404(harness, path):
    answer = harness.client.request("POST" if path in WRITES else "GET", path)
    assert (answer.status_code, answer.json()["code"]) == (404, "rotation-not-found")


@pytest.mark.parametrize("rotation_id", ["x", UNKNOWN.upper(), "%00"])
def test_an_id_that_cannot_be_is_a_422(harness, rotation_id):
    answer = harness.client.get(f"{ROTATIONS}/{rotation_id}")
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "rotation_id")


@pytest.mark.parametrize("path", WRITES)
def test_options_that_do_not_exist_are_refused_instead_of_ignored(harness, path):
    for parts in ({"json": {"dry_run": True}}, {"params": {"dry_run": "true"}}):
        assert harness.client.post(path, **parts).status_code == 422
    assert harness.keys.found == {}


MAY = {Role.SYSADMIN: (True, True), Role.OPERATOR: (True, True), Role.AUDITOR: (True, False)}


@pytest.mark.parametrize("role", KEYS)
def test_operators_rotate_auditors_look_and_nobody_else_may(harness, role):
    headers = {"X-API-Key": KEYS[role]}
    reads, writes = MAY.get(role, (False, False))
    assert {harness.client.get(path, headers=headers).status_code != 403 for path in READS} == {reads}
    assert {harness.client.post(path, headers=headers).status_code != 403 for path in WRITES} == {writes}


def test_with_the_feature_switched_off_there_are_none(switched_off):
    for path in READS:
        assert switched_off.client.get(path).json()["code"] == "feature_disabled"
    for path in WRITES:
        assert switched_off.client.post(path).json()["code"] == "feature_disabled"
