"""The audit trail has the service's own errors by name, whatever strangers do and whatever providers answer."""

from collections.abc import Callable
from uuid import UUID

import httpx2
import pytest

from domain.access.roles import Role
from domain.audit.request_events import RequestRefused
from domain.calls.native import NativeAnswer
from domain.errors import (
    LATE,
    ProviderRefusedError,
    ProviderUnavailableError,
    RateLimitedError,
    RejectedCredentialError,
)
from tests.api.conftest import CREDENTIALS, KEYS, NATIVE, OPENAI, OTHER_TENANT, TENANT, Harness
from tests.api.scripted import TENANT_RECEIPT, ScriptedPieces
from tests.support.asgi import client_on

STRANGERS_PATHS = [
    "/api/v1/sysadmin/tenants/{tenant}/credentials",
    "/api/v1/sysadmin/tenants/{tenant}/credentials/openai",
    "/api/v1/tenants/{tenant}/providers/openai/v1/models",
    "/api/v1/audit/entries",
    "/api/{tenant}",
]
ERRORS = [ProviderRefusedError("openai", status) for status in (400, 402, 403, 404, 407, 413, 422, 451)] + [
    RejectedCredentialError("openai", "tenant"),
    RateLimitedError("openai", 1),
    ProviderUnavailableError("openai", LATE),
    ProviderUnavailableError("openai", "status-503"),
]


def refused_events(harness: Harness) -> list[RequestRefused]:
    harness.recorder.flush()
    return [event for event in harness.log.events if isinstance(event, RequestRefused)]


@pytest.mark.parametrize("when", ["before", "between", "after"])
def test_an_insider_is_there_by_name_whatever_strangers_do(harness: Harness, when: str) -> None:
    def flood() -> None:
        for number in range(600):
            address, tenant = f"198.51.100.{number % 250}", str(UUID(int=number, version=4))
            client = clients.get(address) or clients.setdefault(address, client_on(harness.app, client=(address, 4711)))
            method = ("GET", "PUT", "DELETE", "BREW")[number % 4]
            client.request(method, STRANGERS_PATHS[number % 5].format(tenant=tenant), headers={"X-API-Key": "guess"})
            if number % 100 == 0:
                harness.recorder.flush()

    clients: dict[str, httpx2.Client] = {}
    key = {"X-API-Key": KEYS[Role.RUNTIME]}
    if when == "before":
        flood()
    assert harness.client.put(f"{CREDENTIALS}/openai", json={}, headers=key).status_code == 403
    if when == "between":
        flood()
    assert harness.client.delete(f"{CREDENTIALS}/openai", headers=key).status_code == 403
    if when == "after":
        flood()
    events = refused_events(harness)
    named = [(event.method, event.tenant_id, event.provider, event.status, event.count) for event in events]
    by_insider = [one for one, event in zip(named, events, strict=True) if event.actor == "runtime-1"]
    assert by_insider == [("PUT", TENANT, "openai", 403, 1), ("DELETE", TENANT, "openai", 403, 1)]
    assert len([event for event in events if event.actor == "anonymous"]) <= 50


def test_an_insider_who_floods_is_there_with_every_target_of_its_writes(harness: Harness) -> None:
    key = {"X-API-Key": KEYS[Role.RUNTIME]}
    for number in range(199):
        tenant = str(UUID(int=number, version=4))
        harness.client.get(f"/api/v1/sysadmin/tenants/{tenant}/credentials", headers=key)
        harness.client.delete(f"/api/v1/sysadmin/tenants/{tenant}/credentials/openai", headers=key)
    harness.client.delete(CREDENTIALS.replace(TENANT, OTHER_TENANT) + "/openai", headers=key)
    targets = [event.tenant_id for event in refused_events(harness) if event.method == "DELETE"]
    assert len(targets) == len(set(targets)) == 200 and OTHER_TENANT in targets


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "DELETE"])
@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 407, 429, 500, 503])
def test_what_a_provider_answers_leaves_nothing_in_the_log(harness: Harness, status: int, method: str) -> None:
    harness.native.outcome = lambda: NativeAnswer(TENANT_RECEIPT, status, [], b"{}", None)
    answer = harness.client.request(method, f"{NATIVE}/openai/v1/models", headers={"X-API-Key": KEYS[Role.RUNTIME]})
    assert answer.status_code == status
    assert refused_events(harness) == []


def _broken_off(status: int) -> NativeAnswer:
    pieces = ScriptedPieces(b"a", ProviderUnavailableError("openai", "cut-off"))
    return NativeAnswer(TENANT_RECEIPT, status, [], None, pieces)


@pytest.mark.parametrize("status", [401, 403, 500])
def test_an_answer_that_breaks_off_leaves_nothing_in_the_log(harness: Harness, status: int) -> None:
    harness.native.outcome = lambda: _broken_off(status)
    harness.client.get(f"{NATIVE}/openai/v1/models")
    assert refused_events(harness) == []


def _raising(error: Exception) -> Callable[[], NativeAnswer]:
    def outcome() -> NativeAnswer:
        raise error

    return outcome


@pytest.mark.parametrize("error", ERRORS, ids=[f"{error.code} {getattr(error, 'status', '')}" for error in ERRORS])
def test_our_report_of_what_a_provider_did_leaves_nothing_in_the_log(harness: Harness, error: Exception) -> None:
    harness.native.outcome = harness.models.outcome = _raising(error)  # type: ignore[assignment]  # it only raises
    chat = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}]}
    assert harness.client.get(f"{NATIVE}/openai/v1/models").status_code >= 400
    assert harness.client.post(f"{OPENAI}/chat/completions", json=chat).status_code >= 400
    assert refused_events(harness) == []


KEY_LIKE = [
    "sk-proj-AbC12345",
    "sk-proj-BBBB9876543210zyxwvuTSRQ_tenantB",
    "sk-ant-api03-abcdefgh",
    "req-sk-live-abcdefgh",
    "gsk_abcdefghij",
    "hf_abcdefghij",
    "AIzaSyA1234567890",
    "eyJhbGciOiJIUzI1NiJ9.e30.abc",
    "xai-abcdefghij",
    "SK-PROJ-ABCDEFGH",
    "Zq81xkLmN0pQ77Zq81xkLmN0pQ77Zq81",
    KEYS[Role.SYSADMIN],
]


@pytest.mark.parametrize("key", ["wrong", KEYS[Role.RUNTIME]], ids=["a stranger", "a caller"])
@pytest.mark.parametrize("wanted", KEY_LIKE)
def test_a_request_id_that_may_be_a_key_is_kept_nowhere(
    harness: Harness, caplog: pytest.LogCaptureFixture, wanted: str, key: str
) -> None:
    caplog.set_level("DEBUG")
    answer = harness.client.put(f"{CREDENTIALS}/openai", headers={"X-Request-ID": wanted, "X-API-Key": key}, json={})
    assert answer.headers["X-Request-ID"] != wanted and wanted not in answer.text
    (event,) = refused_events(harness)
    assert event.request_id == answer.headers["X-Request-ID"]
    assert wanted not in "".join(repr(vars(record)) for record in caplog.records if record.name.startswith("keyledger"))


@pytest.mark.parametrize(
    "wanted",
    [
        "0af7651916cd43dd8448eb211c80319c",
        "7c9e6679-7425-40de-944b-e07fc1f90ae7",
        "req_011CSHoEeqs5C35K2UUqR7Fy",
        "01ARZ3NDEKTSV4RRFFQ69G5FAV",
        "0ujtsYcgvSTl8PAuAdqWYSMnLOv",
        "task-4711-migration",
        "V1StGXR8_Z5jdHi6B-myT",
    ],
)
def test_request_ids_as_others_make_them_are_kept(harness: Harness, wanted: str) -> None:
    assert harness.client.get(CREDENTIALS, headers={"X-Request-ID": wanted}).headers["X-Request-ID"] == wanted
