"""HEAD wherever GET is: the same status and headers, no body, and nothing done that GET does for its body."""

import re

import pytest

from api.front.paths import NATIVE
from domain.access.roles import Role
from domain.approvals.needs import Approval
from domain.errors import CheckpointRefusedError
from domain.proofs.proofs import signing_off
from tests.api.conftest import CREDENTIALS, KEYS, OPENAI, TENANT, Harness
from tests.api.front.test_over_http import exchange, head, served

_OWN = {"x-request-id"}
_MOVING = {"/metrics", "/api/v1/audit/entries", "/api/v1/audit/proof/inclusion"}
"""Routes whose body, and so its length, is another one at every request: each is counted, or recorded in the log."""


def read_routes():
    """Every route of the service with GET that answers 200; a provider's own API gets HEAD as it is.

    Routes for people need a browser that began to sign in.
    """
    paths = Harness().app.openapi()["paths"]
    answering = [path for path, item in paths.items() if "get" in item and path != NATIVE]
    return sorted(path for path in answering if not path.startswith("/auth/"))


@pytest.fixture
def filled(harness):
    """A service of which every address answers, with the values of a path's parameters."""
    harness.put()
    harness.client.post("/api/v1/sysadmin/access-keys", json={"name": "app", "role": "runtime"})
    rotation = harness.client.post("/api/v1/sysadmin/encryption-keys/rotations").json()
    replay = harness.client.post("/api/v1/sysadmin/projections/current_credentials/replays").json()
    harness.log.approvals = frozenset(Approval)
    proposal = harness.client.delete(f"{CREDENTIALS}/openai").json()
    values = {
        "proposal_id": proposal["proposal_id"],
        "tenant_id": TENANT,
        "provider": "openai",
        "position": "1",
        "rotation_id": rotation["rotation_id"],
        "replay_id": replay["replay_id"],
        "projection": "current_credentials",
        "model": "gpt-4o",
        "access_key": "app",
        "id": "file-1",
    }
    return harness, values


QUERIES = {
    "/api/v1/audit/export": "?format=csv",
    "/api/v1/audit/proof/inclusion": "?position=1",
    "/api/v1/audit/proof/consistency": "?from=1",
    "/api/v1/sysadmin/tenants/{tenant_id}/resolution": "?model=gpt-4o",
}


def without_own(answer, path):
    left_out = _OWN | ({"content-length"} if path in _MOVING else set())
    return {name: value for name, value in answer.headers.items() if name not in left_out}


@pytest.mark.parametrize("path", read_routes())
def test_head_answers_with_the_status_and_headers_of_get_and_without_its_body(filled, path):
    harness, values = filled
    address = re.sub(r"\{(\w+)\}", lambda name: values[name[1]], path) + QUERIES.get(path, "")
    bodiless, whole = harness.client.head(address), harness.client.get(address)
    assert whole.status_code == 200, whole.text
    assert (bodiless.status_code, without_own(bodiless, path)) == (200, without_own(whole, path))
    assert (bodiless.content, whole.content != b"") == (b"", True)


@pytest.mark.parametrize(
    ("path", "key", "status"),
    [
        pytest.param(CREDENTIALS, "wrong", 401, id="no valid key"),
        pytest.param(CREDENTIALS, KEYS[Role.RUNTIME], 403, id="a role that may not"),
        pytest.param(f"{CREDENTIALS}/openai", KEYS[Role.AUDITOR], 404, id="nothing there"),
        pytest.param(f"{OPENAI}/models", KEYS[Role.RUNTIME], 200, id="a role that may"),
    ],
)
def test_head_is_refused_as_get_is(harness, path, key, status):
    bodiless, whole = (harness.client.request(method, path, headers={"X-API-Key": key}) for method in ("HEAD", "GET"))
    assert (bodiless.status_code, whole.status_code, bodiless.content) == (status, status, b"")
    assert bodiless.headers["content-length"] == whole.headers["content-length"]


BROKEN = [
    pytest.param(signing_off(), "/api/v1/audit/evidence", 404, id="evidence without a signing key"),
    pytest.param(signing_off(), "/api/v1/audit/checkpoint", 404, id="a checkpoint without a signing key"),
    pytest.param(CheckpointRefusedError("damaged"), "/api/v1/audit/evidence", 500, id="evidence of a refused log"),
    pytest.param(CheckpointRefusedError("damaged"), "/api/v1/audit/checkpoint", 500, id="a refused checkpoint"),
]


@pytest.mark.parametrize(("error", "path", "status"), BROKEN)
def test_head_answers_with_the_problem_of_get(harness, error, path, status):
    harness.transparency.refused = error
    assert (harness.client.head(path).status_code, harness.client.get(path).status_code) == (status, status)


def test_head_finds_no_more_than_get_where_nothing_is(harness):
    values = {"tenant_id": TENANT, "provider": "nowhere", "position": "9", "model": "none", "projection": "none"}
    values |= {"rotation_id": TENANT, "replay_id": TENANT, "access_key": "none", "id": "none", "proposal_id": TENANT}
    statuses = {}
    for path in read_routes():
        address = re.sub(r"\{(\w+)\}", lambda name: values[name[1]], path) + QUERIES.get(path, "").replace("=1", "=9")
        statuses[path] = (harness.client.head(address).status_code, harness.client.get(address).status_code)
    assert all(bodiless == whole for bodiless, whole in statuses.values()), statuses
    assert {404, 200} <= {whole for _, whole in statuses.values()}


def test_head_fails_as_get_does_while_the_log_is_down(harness):
    harness.put()
    harness.log.down = True
    for path in (f"{CREDENTIALS}/openai", "/api/v1/audit/entries", "/api/v1/audit/export?format=csv"):
        assert (harness.client.head(path).status_code, harness.client.get(path).status_code) == (503, 503)


def test_head_of_an_export_gives_none_and_records_none(harness):
    for address in ("/api/v1/audit/export?format=csv", "/api/v1/audit/evidence"):
        assert harness.client.head(address).status_code == 200
    assert harness.log.events == []


def test_head_of_a_rotation_that_runs_ends_at_once(harness):
    harness.keys.held = True
    rotation = harness.client.post("/api/v1/sysadmin/encryption-keys/rotations").json()["rotation_id"]
    answer = harness.client.head(f"/api/v1/sysadmin/encryption-keys/rotations/{rotation}/events")
    assert (answer.headers["content-type"], answer.content) == ("text/event-stream; charset=utf-8", b"")


def test_head_is_counted_as_head(harness):
    harness.client.head("/livez")
    counted = harness.client.get("/metrics").text
    assert 'keyledger_http_requests_total{method="HEAD",route="/livez",status="200"} 1.0' in counted


def test_nothing_follows_the_head_on_the_wire(harness):
    with served(harness) as address:
        answer = exchange(address, head("HEAD", "/livez"), head("HEAD", "/livez", "Connection: close"))
    assert answer.count(b"HTTP/1.1 200 OK") == 2 and answer.endswith(b"\r\n\r\n") and b"alive" not in answer
