"""Views and their replay over HTTP, and what was in effect at a time."""

from datetime import timedelta

import pytest

from domain.operations.replay import Difference
from tests.api.conftest import CREDENTIALS, KEYS, OTHER_TENANT, START, TENANT

PROJECTIONS = "/api/v1/sysadmin/projections"
REPLAYS = f"{PROJECTIONS}/audit_trail/replays"
NOBODY = "00000000-0000-4000-8000-000000000000"


def test_every_view_is_listed_with_its_lag_and_what_stops_it(harness):
    harness.projections.stopped = "event-topic-unknown at position 4, topic CredentialRenamed"
    current, _, _, trail, _ = harness.client.get(PROJECTIONS).json()["projections"]
    assert (current["name"], current["lag"], current["state"], current["reason"]) == (
        "current_credentials",
        0,
        "live",
        None,
    )
    assert (trail["position"], trail["head"], trail["lag"], trail["state"]) == (3, 5, 2, "stopped")
    assert trail["reason"] == harness.projections.stopped


def test_a_replay_is_begun_and_then_asked_for_at_its_location(harness):
    begun = harness.client.post(REPLAYS)
    assert begun.status_code == 202
    found = harness.client.get(begun.headers["Location"]).json()
    assert (found["state"], found["actor"], found["swap"]) == ("completed", "super", "if-equal")
    assert found["result"]["swapped"] is True


@pytest.mark.parametrize(
    ("body", "swapped"),
    [
        pytest.param({}, False, id="as it is"),
        pytest.param({"compare_only": True}, False, id="only compared"),
        pytest.param({"swap_when_different": True}, True, id="told to swap anyway"),
    ],
)
def test_a_copy_that_differs_is_swapped_only_when_told_and_names_no_secret(harness, body, swapped):
    harness.projections.differences = (Difference("changed", TENANT, "openai"), Difference("missing", None, None, 7))
    answer = harness.client.post(REPLAYS, json=body).json()
    assert answer["result"]["swapped"] is swapped
    assert answer["result"]["difference_count"] == 2
    assert answer["result"]["differences"] == [
        {"what": "changed", "tenant_id": TENANT, "provider": "openai", "position": None},
        {"what": "missing", "tenant_id": None, "provider": None, "position": 7},
    ]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        pytest.param({"compare_only": True, "swap_when_different": True}, "together with compare_only", id="both"),
        pytest.param({"compare_only": "yes"}, "must be true or false", id="no truth value"),
        pytest.param({"swop": True}, "known fields: compare_only, swap_when_different", id="an unknown field"),
    ],
)
def test_a_request_that_means_nothing_is_refused_with_what_would(harness, body, said):
    answer = harness.client.post(REPLAYS, json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid-request")
    assert said in answer.json()["detail"]
    assert harness.projections.found == {}


def test_a_second_replay_has_to_wait_for_the_first(harness):
    harness.projections.held = True
    assert harness.client.post(REPLAYS).json()["state"] == "running"
    assert harness.client.post(REPLAYS).json()["code"] == "replay-conflict"


def test_what_is_not_there_is_not_found(harness):
    known = harness.client.post(REPLAYS).json()["replay_id"]
    for path, code in (
        (f"{PROJECTIONS}/nothing/replays/{known}", "unknown-projection"),
        (f"{PROJECTIONS}/current_credentials/replays/{known}", "replay-not-found"),
        (f"{REPLAYS}/{NOBODY}", "replay-not-found"),
    ):
        answer = harness.client.get(path)
        assert (answer.status_code, answer.json()["code"]) == (404, code)
    assert harness.client.post(f"{PROJECTIONS}/nothing/replays").status_code == 404


@pytest.mark.parametrize(("role", "allowed"), [(role, role in {"sysadmin", "operator"}) for role in KEYS])
def test_views_are_for_operators(harness, role, allowed):
    harness.client.headers["X-API-Key"] = KEYS[role]
    found = [
        harness.client.get(PROJECTIONS).status_code,
        harness.client.post(REPLAYS).status_code,
        harness.client.get(f"{REPLAYS}/{NOBODY}").status_code,
    ]
    assert found == ([200, 202, 404] if allowed else [403, 403, 403])


def times(harness):
    """Set, replace and delete a credential; return the time of each."""
    harness.put(api_key="sk-first-0123")
    harness.put(api_key="sk-second-4567")
    harness.client.delete(f"{CREDENTIALS}/openai")
    return [event.timestamp for event in harness.log.events]


def listed(harness, as_of, tenant=TENANT):
    path = CREDENTIALS.replace(TENANT, tenant)
    answer = harness.client.get(path, params={"as_of": as_of.isoformat()})
    assert answer.status_code == 200, answer.text
    return [(one["masked_key"], one["encryption_status"]) for one in answer.json()["credentials"]]


def test_a_list_as_of_a_time_shows_what_was_in_effect_then(harness):
    first, second, third = times(harness)
    assert listed(harness, first) == [("...0123", "encrypted")]
    assert listed(harness, second) == [("...4567", "encrypted")]
    assert listed(harness, third) == []
    assert listed(harness, second, OTHER_TENANT) == []
    assert listed(harness, START.replace(year=2020)) == []


def test_a_past_credential_whose_encryption_key_is_gone_is_shown_as_unreadable(harness):
    first, _, _ = times(harness)
    harness.sealer.lose_all()
    assert listed(harness, first) == [("...0123", "unreadable")]


@pytest.mark.parametrize(
    ("ahead", "status"), [pytest.param(30, 200, id="a clock that is ahead"), pytest.param(120, 422, id="the future")]
)
def test_what_will_be_in_effect_is_not_told(harness, ahead, status):
    harness.put()
    now = harness.log.events[-1].timestamp
    answer = harness.client.get(CREDENTIALS, params={"as_of": (now + timedelta(seconds=ahead)).isoformat()})
    assert answer.status_code == status
    assert status == 200 or answer.json()["errors"][0]["field"] == "as_of"


def test_a_time_that_is_none_is_refused(harness):
    answer = harness.client.get(CREDENTIALS, params={"as_of": "yesterday"})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid-request")
    assert "RFC 3339" in answer.json()["detail"]
