"""Health, counters, the access log, the life of the application and its document."""

import asyncio
import logging

import pytest
from starlette.testclient import TestClient

from api.front.check_result import CheckResult
from domain.access.roles import Role
from domain.calls.native import NativeAnswer
from tests.api.conftest import CREDENTIALS, KEYS, NATIVE, OPENAI, TENANT, Harness
from tests.api.scripted import TENANT_RECEIPT


@pytest.fixture
def stranger(harness):
    """A client without a key."""
    harness.client.headers.pop("X-API-Key")
    return harness.client


def test_what_watches_the_service_needs_no_key(stranger):
    for path in ("/", "/docs", "/docs.css", "/livez", "/readyz", "/metrics", "/openapi.json"):
        assert stranger.get(path).status_code == 200


def test_alive_is_said_without_asking_the_store(harness):
    harness.log.down = True
    harness.checks["store"] = CheckResult(False, "does not answer")
    assert harness.client.get("/livez").json() == {"status": "alive"}


def test_a_page_of_a_provider_runs_nothing_in_the_browser_of_a_person_who_signed_in(harness):
    page = b"<script>fetch('/auth/session')</script>"
    harness.native.outcome = lambda: NativeAnswer(TENANT_RECEIPT, 200, [(b"content-type", b"text/html")], page, None)
    answer = harness.client.get(f"{NATIVE}/openai/page.html")
    assert (answer.content, answer.headers["content-type"]) == (page, "text/html")
    assert answer.headers.get_list("content-security-policy") == ["sandbox; default-src 'none'; frame-ancestors 'none'"]
    assert "sandbox" not in harness.client.get("/docs").headers["content-security-policy"]


def test_ready_names_its_checks(harness):
    answer = harness.client.get("/readyz")
    assert (answer.status_code, answer.json()) == (
        200,
        {"status": "ready", "checks": {"store": {"ok": True, "text": "answers"}}},
    )


def test_one_failed_check_is_not_ready(harness):
    harness.checks["keys"] = CheckResult(False, "k0123456789 is missing")
    answer = harness.client.get("/readyz")
    assert (answer.status_code, answer.json()["status"]) == (503, "not-ready")
    assert answer.json()["checks"]["keys"] == {"ok": False, "text": "k0123456789 is missing"}


def test_checks_that_hang_are_not_ready(harness, monkeypatch):
    monkeypatch.setattr("api.rest.health.READINESS_SECONDS", 0.01)
    monkeypatch.setattr(Harness, "_readiness", lambda self: asyncio.Event().wait())
    assert Harness().client.get("/readyz").status_code == 503


def test_the_application_starts_and_stops_its_services_once(harness):
    with TestClient(harness.app):
        assert harness.life == ["started"]
    assert harness.life == ["started", "stopped"]


def test_requests_are_counted_by_the_template_of_their_route(harness):
    harness.put()
    harness.client.get(CREDENTIALS, headers={"X-API-Key": "wrong"})
    harness.client.request("BREW", "/livez")
    counted = harness.client.get("/metrics").text
    route = "/api/v1/sysadmin/tenants/{tenant_id}/credentials/{provider}"
    assert f'keyledger_http_requests_total{{method="PUT",route="{route}",status="200"}} 1.0' in counted
    refused = "/api/v1/sysadmin/tenants/{tenant_id}/credentials"
    assert f'keyledger_http_requests_total{{method="GET",route="{refused}",status="401"}} 1.0' in counted
    assert 'keyledger_http_requests_total{method="other",route="/livez",status="405"} 1.0' in counted
    assert f'keyledger_http_request_duration_seconds_count{{method="PUT",route="{route}"}} 1.0' in counted
    assert TENANT not in counted


def test_two_applications_count_for_themselves(harness):
    Harness().client.get("/livez")
    assert 'route="/livez"' not in harness.client.get("/metrics").text


def test_a_request_leaves_one_line_without_path_or_query(harness, caplog):
    caplog.set_level(logging.INFO, "keyledger.access")
    headers = {"X-API-Key": KEYS[Role.AUDITOR], "X-Request-ID": "req-1"}
    harness.client.get("/api/v1/audit/entries", params={"actor": "somebody"}, headers=headers)
    (line,) = [record for record in caplog.records if record.name == "keyledger.access"]
    logged = {name: vars(line)[name] for name in ("method", "route", "status", "request_id", "actor")}
    assert logged == {
        "method": "GET",
        "route": "/api/v1/audit/entries",
        "status": 200,
        "request_id": "req-1",
        "actor": "auditor-1",
    }
    assert vars(line)["duration_ms"] >= 0 and "somebody" not in repr(vars(line))


def test_a_refused_stranger_leaves_a_line_too(stranger, caplog):
    caplog.set_level(logging.INFO, "keyledger.access")
    stranger.get(f"{OPENAI}/models")
    assert [(vars(line)["status"], vars(line)["actor"]) for line in caplog.records if "access" in line.name] == [
        (401, None)
    ]


_SUCCESSES = {"200", "201", "202", "204", "303"}


def operations(harness):
    document = harness.client.get("/openapi.json").json()
    return document, [
        (path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


def test_every_operation_has_an_id_of_its_own_set_by_hand(harness):
    _, found = operations(harness)
    assert [operation["operationId"] for _, _, operation in found] == [
        "setCredential",
        "getCredential",
        "deleteCredential",
        "listCredentials",
        "checkCredential",
        "listCredentialHistory",
        "listTenants",
        "findCredentials",
        "getTenant",
        "registerTenant",
        "getTenantPolicy",
        "changeTenantPolicy",
        "freezeTenant",
        "thawTenant",
        "setOwnCredential",
        "getOwnCredential",
        "deleteOwnCredential",
        "listOwnCredentials",
        "checkOwnCredential",
        "listOwnCredentialHistory",
        "listOwnUsage",
        "listOwnTokenUsage",
        "listOwnAuditEntries",
        "listAuditEntries",
        "getAuditEntry",
        "exportAudit",
        "getCheckpoint",
        "getInclusionProof",
        "getConsistencyProof",
        "getEvidence",
        "listUsage",
        "listTokenUsage",
        "listEncryptionKeys",
        "retireEncryptionKey",
        "startKeyRotation",
        "listKeyRotations",
        "getKeyRotation",
        "followKeyRotation",
        "cancelKeyRotation",
        "listProjections",
        "startReplay",
        "getReplay",
        "createAccessKey",
        "listAccessKeys",
        "revokeLeakedToken",
        "getAccessKey",
        "changeAccessKey",
        "revokeAccessKey",
        "listAccessKeyUsage",
        "rotateAccessKey",
        "listProposals",
        "getProposal",
        "approveProposal",
        "rejectProposal",
        "reload",
        "explainResolution",
        "createChatCompletion",
        "createEmbeddings",
        "listModels",
        "getModel",
        "createMessage",
        "countMessageTokens",
        "signIn",
        "finishSignIn",
        "getSession",
        "signOut",
        "livez",
        "readyz",
        "metrics",
        "index",
        *("nativeGet", "nativeHead", "nativePost", "nativePut", "nativePatch", "nativeDelete", "nativeOptions"),
        *("createCompletion", "createModeration", "createImage", "createImageEdit", "createImageVariation"),
        *("createSpeech", "createTranscription", "createTranslation", "createRerank"),
        *("createResponse", "compactResponse", "countInputTokens", "getResponse", "deleteResponse", "cancelResponse"),
        *("listInputItems", "listFiles", "createFile", "getFile", "deleteFile", "downloadFile"),
        *("listBatches", "createBatch", "getBatch", "cancelBatch"),
    ]


def test_every_operation_shows_an_example_of_its_request_and_of_its_answer(harness):
    document, found = operations(harness)
    assert document["openapi"] == "3.1.0"
    for path, method, operation in found:
        succeeded = [one for status, one in operation["responses"].items() if status in _SUCCESSES]
        assert len(succeeded) == 1 or "202" in operation["responses"], "only a command can be done or proposed"
        for one in succeeded:
            contents = one.get("content", {})  # an answer that leads on, or has nothing to say, has no body
            shown = [content for kind, content in contents.items() if "stream" not in kind]
            assert all("example" in content for content in shown or contents.values()), (method, path)
        if "requestBody" in operation:
            body = operation["requestBody"]["content"]["application/json"]
            name = body["schema"].get("$ref", "").rpartition("/")[2]
            assert "example" in body or document["components"]["schemas"][name]["examples"], (method, path)


def test_every_operation_below_api_demands_a_key_and_documents_its_refusals_as_problems(harness):
    document, found = operations(harness)
    assert set(document["components"]["securitySchemes"]) == {"ApiKey", "Bearer"}
    for path, method, operation in found:
        assert ("security" in operation) is path.startswith("/api/"), (method, path)
        refused = {status: one for status, one in operation["responses"].items() if status[0] in "45" and "api" in path}
        assert {"401", "403", "500"} <= set(refused) or not path.startswith("/api/")
        assert all("application/problem+json" in one["content"] for one in refused.values())
    assert "HTTPValidationError" not in document["components"]["schemas"]


def test_the_example_of_the_request_is_accepted(harness):
    document, _ = operations(harness)
    example = document["components"]["schemas"]["CredentialBody"]["examples"][0]
    assert harness.client.put(f"{CREDENTIALS}/openai", json=example).status_code == 200
