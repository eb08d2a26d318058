"""The table of errors and the bodies it makes."""

import logging

import pytest

from api.front.problems import HTTP_ROWS, SERVICE_ROWS, HttpError, problem_of
from domain import errors
from domain.access.access_key import access_key_not_found
from domain.approvals.proposal import proposal_not_found
from domain.audit.entries import entry_not_found
from domain.calls.models import unknown_model
from domain.calls.native_path import invalid_path
from domain.credentials.command_batch import command_reused
from domain.credentials.providers import unknown_provider
from domain.errors import ConflictError, ErrorCode, InvalidField, InvalidRequestError
from domain.operations.encryption_keys import key_not_retirable
from domain.operations.replay import replay_not_found, unknown_projection
from domain.operations.rotation import rotation_not_found
from domain.proofs.proofs import proof_not_found, signing_off
from tests.api.conftest import CREDENTIALS, OPENAI, TENANT


def test_every_error_code_has_exactly_one_row():
    assert set(SERVICE_ROWS) == set(ErrorCode)


def test_every_code_is_one_word_for_one_thing():
    codes = [*SERVICE_ROWS, *HTTP_ROWS]
    assert len(codes) == len(set(codes))


GOLDEN = [
    (
        unknown_provider(("a", "b")),
        404,
        "unknown-provider",
        "There is no such provider. Known providers: a, b.",
    ),
    (
        unknown_model("models.yml"),
        404,
        "unknown-model",
        "This model is not in the catalogue. Models come from models.yml; GET .../openai/v1/models lists them.",
    ),
    (errors.InvalidRequestError([InvalidField("n", "is odd")]), 422, "invalid-request", "n: is odd"),
    (invalid_path("is odd"), 400, "invalid-path", "The path after the provider's name is odd."),
    (
        InvalidRequestError((), ErrorCode.ACCOUNT_ROUTE_CLOSED, "It is closed."),
        403,
        "account-route-closed",
        "It is closed.",
    ),
    (
        InvalidRequestError((), ErrorCode.GLOBAL_KEY_NOT_ALLOWED, "It is not."),
        403,
        "global-key-not-allowed",
        "It is not.",
    ),
    (
        InvalidRequestError([InvalidField("api_key", "is empty")], ErrorCode.INVALID_CREDENTIAL),
        422,
        "invalid-credential",
        "api_key: is empty",
    ),
    (
        errors.CredentialNotFoundError("T", "openai"),
        404,
        "credential-not-found",
        "Tenant T has no credential for openai.",
    ),
    (
        errors.VersionConflictError(3, precondition=False),
        409,
        "version-conflict",
        "The credential was changed by another request (now at version 3). Read it again and retry.",
    ),
    (
        errors.VersionConflictError(3, precondition=True),
        412,
        "version-conflict",
        "The credential is at version 3, so the stated precondition does not hold. Read it again, then decide.",
    ),
    (
        command_reused(),
        422,
        "idempotency-key-reused",
        "This Idempotency-Key was used for a different request. Use a fresh key for a new request.",
    ),
    (entry_not_found(7), 404, "audit-entry-not-found", "There is no audit entry at position 7."),
    (proof_not_found("it is odd"), 404, "no-such-proof", "There is no such proof: it is odd."),
    (
        signing_off(),
        404,
        "signing-off",
        (
            "This service does not sign checkpoints. An operator can set AUDIT_SIGNING_KEY; create one with:"
            " keyledger audit generate-signing-key"
        ),
    ),
    (
        errors.CheckpointRefusedError("it is odd"),
        500,
        "checkpoint-refused",
        "No checkpoint was signed: it is odd. Ask an operator to investigate.",
    ),
    (ConflictError(ErrorCode.ROTATION_REFUSED, "A node is behind."), 409, "rotation-refused", "A node is behind."),
    (rotation_not_found(), 404, "rotation-not-found", "There is no rotation with this id."),
    (
        key_not_retirable(["it is the primary key", "a rotation is running"]),
        409,
        "key-not-retirable",
        "The key cannot be retired: it is the primary key; a rotation is running.",
    ),
    (
        unknown_projection(["a", "b"]),
        404,
        "unknown-projection",
        "There is no such projection. Known projections: a, b.",
    ),
    (ConflictError(ErrorCode.REPLAY_CONFLICT, "A replay is running."), 409, "replay-conflict", "A replay is running."),
    (
        ConflictError(ErrorCode.RELOAD_REFUSED, "The settings were not reloaded: LOG_LEVEL: must be one of: info; a"),
        409,
        "reload-refused",
        "The settings were not reloaded: LOG_LEVEL: must be one of: info; a",
    ),
    (replay_not_found(), 404, "replay-not-found", "There is no replay with this id."),
    (
        access_key_not_found(),
        404,
        "access-key-not-found",
        "There is no access key of this name or id that is in use.",
    ),
    (errors.UnresolvableError(ErrorCode.TENANT_FROZEN, "It is frozen."), 423, "tenant-frozen", "It is frozen."),
    (
        errors.UnresolvableError(ErrorCode.TENANT_NOT_REGISTERED, "It is not registered."),
        403,
        "tenant-not-registered",
        "It is not registered.",
    ),
    (errors.UnresolvableError(ErrorCode.KEY_NOT_CHECKED, "Not checked."), 403, "key-not-checked", "Not checked."),
    (errors.AccessError(ErrorCode.APPROVAL_REQUIRED, "Two."), 403, "approval-required", "Two."),
    (errors.AccessError(ErrorCode.OWN_PROPOSAL, "Yours."), 403, "own-proposal", "Yours."),
    (proposal_not_found(), 404, "proposal-not-found", "There is no proposal with this id."),
    (ConflictError(ErrorCode.PROPOSAL_DECIDED, "Rejected."), 409, "proposal-decided", "Rejected."),
    (ConflictError(ErrorCode.PROPOSAL_LAPSED, "Over."), 409, "proposal-lapsed", "Over."),
    (errors.UnresolvableError(ErrorCode.OUTSIDE_POLICY, "Not this one."), 403, "outside-policy", "Not this one."),
    (ConflictError(ErrorCode.ACCESS_KEY_EXISTS, "It exists."), 409, "access-key-exists", "It exists."),
    (
        errors.AccessError(ErrorCode.ACCESS_KEY_REFUSED, "It was revoked."),
        401,
        "access-key-refused",
        "It was revoked.",
    ),
    (errors.AccessError(ErrorCode.TOKEN_REFUSED, "It has expired."), 401, "token-refused", "It has expired."),
    (errors.AccessError(ErrorCode.SESSION_ENDED, "It has expired."), 401, "session-ended", "It has expired."),
    (errors.AccessError(ErrorCode.ISSUER_UNAVAILABLE, "Later.", 10), 503, "issuer-unavailable", "Later."),
    (errors.AccessError(ErrorCode.OUTSIDE_SCOPE, "Not this tenant."), 403, "outside-scope", "Not this tenant."),
    (errors.AccessError(ErrorCode.BUDGET_REACHED, "Used.", 7), 429, "budget-reached", "Used."),
    (errors.AccessError(ErrorCode.MODEL_WITHOUT_PRICE, "No."), 403, "model-without-price", "No."),
    (errors.AccessError(ErrorCode.ACCESS_LIMIT_REACHED, "Too many.", 7), 429, "access-limit-reached", "Too many."),
    (
        errors.NoCredentialError("T", "openai", "none"),
        424,
        "no-credential",
        "No API key for provider 'openai': none. Set one with PUT /api/v1/sysadmin/tenants/T/credentials/openai.",
    ),
    (
        errors.UnreadableCredentialError("k1", "unknown-key"),
        500,
        "credential-unreadable",
        "The stored credential cannot be opened (key k1: unknown-key). Set it again to replace it.",
    ),
    (
        errors.CredentialIntegrityError("binding"),
        500,
        "credential-integrity",
        (
            "The stored credential failed its integrity check (binding), so no call was made. Ask an operator to"
            " investigate."
        ),
    ),
    (
        errors.RejectedCredentialError("openai", "tenant"),
        424,
        "credential-rejected",
        "openai rejected the tenant API key. No other key was tried; replace the key.",
    ),
    (
        errors.ProviderRefusedError("openai", 422),
        422,
        "provider-refused",
        "openai rejected this request with status 422.",
    ),
    (
        errors.RateLimitedError("openai", None),
        429,
        "provider-rate-limited",
        "openai is rate limiting this key. Try again later.",
    ),
    (errors.ProviderUnavailableError("openai", errors.LATE), 504, "provider-timeout", "openai did not answer in time."),
    (
        errors.ProviderUnavailableError("openai", "reset"),
        502,
        "provider-unavailable",
        "openai cannot be used right now (reset).",
    ),
    (
        errors.StoreUnavailableError("It is another log.", contradicted=True),
        503,
        "log-contradicted",
        "It is another log.",
    ),
    (
        errors.StoreUnavailableError(),
        503,
        "store-unavailable",
        "The database is not available. Try again; repeat a write with the same Idempotency-Key.",
    ),
]
MEMBERS: dict[str, dict[str, object]] = {
    "invalid-request": {"errors": [{"pointer": "/n", "field": "n", "detail": "is odd"}]},
    "invalid-credential": {"errors": [{"pointer": "/api_key", "field": "api_key", "detail": "is empty"}]},
    "version-conflict": {"current_version": 3},
    "provider-refused": {"provider_status": 422},
}


@pytest.mark.parametrize(("error", "status", "code", "detail"), GOLDEN, ids=[f"{row[2]} is {row[1]}" for row in GOLDEN])
def test_an_error_has_this_body(harness, error, status, code, detail):
    def fail():
        raise error

    harness.models.outcome = fail
    body = {"model": "gpt-4o", "messages": [{}]}
    answer = harness.client.post(f"{OPENAI}/chat/completions", json=body, headers={"X-Request-ID": "req-1"})
    shown = answer.json()
    openai = shown.pop("error")
    assert (answer.status_code, shown) == (
        status,
        {
            "type": f"/problems/{code}",
            "title": SERVICE_ROWS[code].title,
            "status": status,
            "detail": detail,
            "instance": "urn:request:req-1",
            "code": code,
            **MEMBERS.get(code, {}),
        },
    )
    assert openai == {"message": detail, "type": openai["type"], "code": code, "param": None}


def test_the_golden_table_is_whole():
    assert {row[2] for row in GOLDEN} == set(SERVICE_ROWS)


def test_only_paths_that_openai_clients_call_have_their_error_member(harness):
    assert "error" not in harness.client.get("/api/v1/nowhere").json()
    assert "error" in harness.client.get(f"{OPENAI}/nowhere").json()
    assert "error" in harness.client.get(f"{OPENAI}/models", headers={"X-API-Key": "wrong"}).json()
    assert "error" in harness.client.get(f"{OPENAI.replace(TENANT, 'x')}/models").json()


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", f"{CREDENTIALS}/openai", "DELETE, GET, HEAD, PUT"),
        ("PATCH", f"{CREDENTIALS}/openai", "DELETE, GET, HEAD, PUT"),
        ("BREW", f"{CREDENTIALS}/openai", "DELETE, GET, HEAD, PUT"),
        ("PUT", CREDENTIALS, "GET, HEAD"),
        ("DELETE", f"{CREDENTIALS}/openai/history", "GET, HEAD"),
        ("POST", "/api/v1/audit/entries", "GET, HEAD"),
        ("GET", f"{OPENAI}/chat/completions", "POST"),
        ("POST", f"{OPENAI}/models/gpt-4o", "GET, HEAD"),
        ("HEAD", f"{OPENAI}/chat/completions", "POST"),
        ("POST", "/metrics", "GET, HEAD"),
        ("DELETE", "/openapi.json", "GET, HEAD"),
        ("POST", "/docs", "GET, HEAD"),
    ],
)
def test_a_method_that_a_path_has_not_is_405_with_all_that_it_has(harness, method, path, allowed):
    answer = harness.client.request(method, path)
    assert (answer.status_code, answer.headers["Allow"]) == (405, allowed)


@pytest.mark.parametrize(
    "path", ["/docs/", "/redoc", "/index.html", "/api/v1", f"{CREDENTIALS}/", f"{CREDENTIALS}/openai/x", "/%2Fapi"]
)
def test_an_unknown_path_is_404_and_nothing_redirects(harness, path):
    answer = harness.client.get(path, follow_redirects=False)
    assert (answer.status_code, answer.json()["code"]) == (404, "not-found")


def test_an_error_nobody_foresaw_is_500_without_detail(harness, caplog):
    harness.log.last = None
    with caplog.at_level(logging.DEBUG):
        answer = harness.put()
    assert (answer.status_code, answer.json()["code"]) == (500, "internal-error")
    assert "NoneType" not in answer.text + caplog.text
    assert "type=TypeError" in caplog.text and answer.headers["X-Request-ID"] in caplog.text


def test_a_refusal_of_the_interface_keeps_its_headers():
    problem = problem_of(HttpError("request-timeout", "Too slow.", {"Connection": "close"}))
    assert (problem.status, problem.title, problem.headers) == (408, "Request timeout", {"Connection": "close"})
