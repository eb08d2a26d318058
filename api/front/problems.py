"""The one table from errors to HTTP answers, and the only module that maps them to status numbers.

Promises: every error is an RFC 9457 problem with `type`, `title`, `status`, `detail`, `instance` and `code`; its text
is our own, never a value that was sent, stored or received from a provider. A test fails for a code without a row. On
the paths that providers' clients call the same body has the `error` member that they look for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.responses import Response
from starlette.types import Scope

from api.front.exchange import exchange_of
from api.front.json_response import encode
from api.front.paths import calls_models, routed_path, speaks_anthropic
from domain.errors import (
    ErrorCode,
    InvalidField,
    InvalidRequestError,
    ProviderRefusedError,
    ProviderUnavailableError,
    RateLimitedError,
    ServiceError,
    VersionConflictError,
)

MEDIA_TYPE = "application/problem+json"
CHALLENGE = {"WWW-Authenticate": 'Bearer realm="keyledger"'}
"""The header of every 401 (RFC 9110, 11.6.1)."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    status: int
    title: str


SERVICE_ROWS: Mapping[ErrorCode, Row] = {
    ErrorCode.UNKNOWN_PROVIDER: Row(404, "Unknown provider"),
    ErrorCode.UNKNOWN_MODEL: Row(404, "Unknown model"),
    ErrorCode.INVALID_REQUEST: Row(422, "Invalid request"),
    ErrorCode.INVALID_PATH: Row(400, "Invalid path"),
    ErrorCode.ACCOUNT_ROUTE_CLOSED: Row(403, "Account route closed"),
    ErrorCode.GLOBAL_KEY_NOT_ALLOWED: Row(403, "Global key not allowed"),
    ErrorCode.INVALID_CREDENTIAL: Row(422, "Invalid credential"),
    ErrorCode.CREDENTIAL_NOT_FOUND: Row(404, "No such credential"),
    ErrorCode.VERSION_CONFLICT: Row(409, "Version conflict"),
    ErrorCode.IDEMPOTENCY_KEY_REUSED: Row(422, "Idempotency key reused"),
    ErrorCode.AUDIT_ENTRY_NOT_FOUND: Row(404, "No such audit entry"),
    ErrorCode.NO_SUCH_PROOF: Row(404, "No such proof"),
    ErrorCode.SIGNING_OFF: Row(404, "Signing is off"),
    ErrorCode.CHECKPOINT_REFUSED: Row(500, "Checkpoint refused"),
    ErrorCode.ROTATION_REFUSED: Row(409, "Rotation refused"),
    ErrorCode.ROTATION_NOT_FOUND: Row(404, "No such rotation"),
    ErrorCode.KEY_NOT_RETIRABLE: Row(409, "Key not retirable"),
    ErrorCode.UNKNOWN_PROJECTION: Row(404, "Unknown projection"),
    ErrorCode.REPLAY_CONFLICT: Row(409, "Replay conflict"),
    ErrorCode.REPLAY_NOT_FOUND: Row(404, "No such replay"),
    ErrorCode.RELOAD_REFUSED: Row(409, "Reload refused"),
    ErrorCode.ACCESS_KEY_NOT_FOUND: Row(404, "No such access key"),
    ErrorCode.ACCESS_KEY_EXISTS: Row(409, "Access key exists"),
    ErrorCode.ACCESS_KEY_REFUSED: Row(401, "Access key refused"),
    ErrorCode.TOKEN_REFUSED: Row(401, "Token refused"),
    ErrorCode.SESSION_ENDED: Row(401, "Session ended"),
    ErrorCode.OUTSIDE_SCOPE: Row(403, "Outside the caller's scope"),
    ErrorCode.ACCESS_LIMIT_REACHED: Row(429, "Access limit reached"),
    ErrorCode.BUDGET_REACHED: Row(429, "Budget reached"),
    ErrorCode.MODEL_WITHOUT_PRICE: Row(403, "Model without a price"),
    ErrorCode.TENANT_FROZEN: Row(423, "Tenant frozen"),
    ErrorCode.TENANT_NOT_REGISTERED: Row(403, "Tenant not registered"),
    ErrorCode.OUTSIDE_POLICY: Row(403, "Outside the tenant's policy"),
    ErrorCode.KEY_NOT_CHECKED: Row(403, "Key not checked"),
    ErrorCode.APPROVAL_REQUIRED: Row(403, "Approval required"),
    ErrorCode.OWN_PROPOSAL: Row(403, "Own proposal"),
    ErrorCode.PROPOSAL_NOT_FOUND: Row(404, "No such proposal"),
    ErrorCode.PROPOSAL_DECIDED: Row(409, "Proposal decided"),
    ErrorCode.PROPOSAL_LAPSED: Row(409, "Proposal lapsed"),
    ErrorCode.NO_CREDENTIAL: Row(424, "No credential"),
    ErrorCode.CREDENTIAL_UNREADABLE: Row(500, "Unreadable credential"),
    ErrorCode.CREDENTIAL_INTEGRITY: Row(500, "Credential integrity"),
    ErrorCode.CREDENTIAL_REJECTED: Row(424, "Credential rejected"),
    ErrorCode.PROVIDER_REFUSED: Row(400, "Refused by the provider"),
    ErrorCode.PROVIDER_RATE_LIMITED: Row(429, "Rate limited by the provider"),
    ErrorCode.PROVIDER_TIMEOUT: Row(504, "Provider timeout"),
    ErrorCode.PROVIDER_UNAVAILABLE: Row(502, "Provider unavailable"),
    ErrorCode.STORE_UNAVAILABLE: Row(503, "Store unavailable"),
    ErrorCode.LOG_CONTRADICTED: Row(503, "Log contradicted"),
    ErrorCode.ISSUER_UNAVAILABLE: Row(503, "Issuer unavailable"),
}
"""What the domain raises, by code."""

HTTP_ROWS: Mapping[str, Row] = {
    "malformed-json": Row(400, "Malformed JSON"),
    "malformed-header": Row(400, "Malformed header"),
    "reason-required": Row(400, "Reason required"),
    "upgrade-refused": Row(400, "Upgrade refused"),
    "unauthenticated": Row(401, "Unauthenticated"),
    "forbidden": Row(403, "Forbidden"),
    "csrf-token-missing": Row(403, "CSRF token missing"),
    "sign-in-failed": Row(403, "Sign-in failed"),
    "sign-in-off": Row(404, "Sign-in is off"),
    "not-found": Row(404, "Not found"),
    "feature_disabled": Row(404, "Feature disabled"),
    "method-not-allowed": Row(405, "Method not allowed"),
    "request-timeout": Row(408, "Request timeout"),
    "body-too-large": Row(413, "Body too large"),
    "unsupported-media-type": Row(415, "Unsupported media type"),
    "locked-out": Row(429, "Locked out"),
    "limit-reached": Row(429, "Limit reached"),
    "client-left": Row(499, "Client left"),
    "internal-error": Row(500, "Internal error"),
    "provider-busy": Row(503, "Provider busy"),
    "shutting-down": Row(503, "Shutting down"),
    "too-many-connections": Row(503, "Too many connections"),
}
"""Errors of the HTTP interface itself, by code."""

PASSED_ON = frozenset({400, 404, 413, 422})
"""Statuses of a provider that are passed on. A provider's 403 must not look like our own."""

VARIANTS: Mapping[str, frozenset[int]] = {
    ErrorCode.VERSION_CONFLICT: frozenset({412}),
    ErrorCode.PROVIDER_REFUSED: PASSED_ON | {424},
}
"""Statuses that an error can have besides the one in its row, by code."""

_DEPENDENCY = frozenset({402, 403})


class HttpError(Exception):
    """A request that the HTTP interface refuses by itself. `code` is a row of HTTP_ROWS; `detail` is our own text."""

    def __init__(self, code: str, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.headers = dict(headers or {})


@dataclass(frozen=True, slots=True)
class Problem:
    """An error, ready to be encoded. `members` are the extension members of RFC 9457."""

    status: int
    code: str
    title: str
    detail: str
    members: Mapping[str, object] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)


def problem_of(error: ServiceError | HttpError) -> Problem:
    """Return the problem that reports an error to the caller."""
    if isinstance(error, HttpError):
        row = HTTP_ROWS[error.code]
        return Problem(row.status, error.code, row.title, error.detail, {}, error.headers)
    row = SERVICE_ROWS[ErrorCode(error.code)]
    return Problem(_status(error, row), error.code, row.title, error.detail, _members(error), _headers(error))


def internal_problem() -> Problem:
    """Return the problem for an unexpected error; it says nothing about the error."""
    return problem_of(
        HttpError(
            "internal-error", "An unexpected error occurred. An operator can find it in the log by the request id."
        )
    )


def shutdown_problem() -> Problem:
    """Return the problem for a call that was cut off because the service is shutting down."""
    detail = "The service is shutting down and could not finish this request. Try again; another node may answer."
    return problem_of(HttpError("shutting-down", detail, {"Retry-After": "5"}))


def crowded_problem() -> Problem:
    """Return the problem for a connection that is closed because there are too many."""
    detail = "The service has more connections than it may (MAX_CONNECTIONS). Try again; another node may answer."
    return problem_of(HttpError("too-many-connections", detail, {"Retry-After": "1"}))


def document_of(problem: Problem, request_id: str) -> dict[str, object]:
    """Return the document of a problem, as RFC 9457 lays it out."""
    return {
        "type": f"/problems/{problem.code}",
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail,
        "instance": f"urn:request:{request_id}",
        "code": problem.code,
        **problem.members,
    }


def problem_response(problem: Problem, scope: Scope) -> Response:
    """Return the problem as the answer to the request of `scope`."""
    exchange = exchange_of(scope)
    exchange.refused, exchange.refused_with = problem.code, problem.status
    body = document_of(problem, exchange.request_id)
    path = routed_path(scope)
    if calls_models(path):
        body["error"] = openai_error(problem)
    if speaks_anthropic(path):
        body |= {"type": "error", "error": anthropic_error(body["error"], problem.status)}
    return Response(encode(body), problem.status, dict(problem.headers), MEDIA_TYPE)


def openai_error(problem: Problem) -> Mapping[str, object]:
    """Return the problem in the form that OpenAI clients show to their users."""
    code = problem.members.get("provider_code", problem.code)  # clients act on the provider's own
    return {"message": problem.detail, "type": _openai_type(problem.status), "code": code, "param": None}


def anthropic_error(described: Any, status: int) -> Mapping[str, object]:
    """Return an error that `openai_error` described in the words of Anthropic's API."""
    return {**described, "type": _ANTHROPIC_TYPES.get(status, described["type"])}


def field_list(fields: Sequence[InvalidField]) -> list[Mapping[str, object]]:
    """Return broken fields as `errors` lists them. `field` is a plain name, so the pointer needs no escaping."""
    return [{"pointer": _pointer(one.field), "field": one.field, "detail": one.rule} for one in fields]


def _pointer(field_name: str) -> str:
    return f"/{field_name}" if field_name.isidentifier() else ""


def _status(error: ServiceError, row: Row) -> int:
    if isinstance(error, VersionConflictError) and error.precondition:
        return 412
    if isinstance(error, ProviderRefusedError):
        if error.status in _DEPENDENCY:
            return 424
        return error.status if error.status in PASSED_ON else row.status
    return row.status


def _members(error: ServiceError) -> Mapping[str, object]:
    if isinstance(error, InvalidRequestError) and error.fields:
        return {"errors": field_list(error.fields)}
    if isinstance(error, VersionConflictError):
        return {"current_version": error.current}
    told = {"provider_status": error.status} if isinstance(error, ProviderRefusedError) else {}
    coded = ProviderRefusedError | ProviderUnavailableError | RateLimitedError
    if isinstance(error, coded) and error.provider_code is not None:
        return {**told, "provider_code": error.provider_code}
    return told


def _headers(error: ServiceError) -> Mapping[str, str]:
    if error.code in {ErrorCode.ACCESS_KEY_REFUSED, ErrorCode.TOKEN_REFUSED, ErrorCode.SESSION_ENDED}:
        return CHALLENGE
    return {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}


_ANTHROPIC_TYPES: Mapping[int, str] = {
    404: "not_found_error",
    413: "request_too_large",
    503: "overloaded_error",
    529: "overloaded_error",
}
"""Where Anthropic's words differ from OpenAI's."""


def _openai_type(status: int) -> str:
    known = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
    return known.get(status, "invalid_request_error" if status < 500 else "api_error")
