"""The one table from errors to HTTP answers, and the only module that knows status numbers.

Promises: every refusal is an RFC 9457 problem with `type`, `title`, `status`, `detail`, `instance` and `code`; its text
is ours or the domain's, never a value that was sent, stored or received from a provider. A leaf of the error tree
without a row is a fault that a test finds. On the paths that providers' clients call the same body has the `error`
member that they look for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from starlette.responses import Response
from starlette.types import Scope

from api.front.exchange import exchange_of
from api.front.json_response import encode
from api.front.paths import is_native, routed_path, speaks_openai
from domain.errors import (
    AuditEntryNotFoundError,
    CheckpointRefusedError,
    CommandReusedError,
    CredentialIntegrityError,
    CredentialNotFoundError,
    InvalidCredentialError,
    InvalidField,
    InvalidPathError,
    InvalidRequestError,
    KeyNotRetirableError,
    NoCredentialError,
    ProofNotFoundError,
    ProviderRefusedError,
    ProviderTimeoutError,
    ProviderUnavailableError,
    RateLimitedError,
    RejectedCredentialError,
    ReloadRefusedError,
    ReplayConflictError,
    ReplayNotFoundError,
    RotationNotFoundError,
    RotationRefusedError,
    ServiceError,
    SigningOffError,
    StoreUnavailableError,
    UnknownModelError,
    UnknownProjectionError,
    UnknownProviderError,
    UnreadableCredentialError,
    VersionConflictError,
)

MEDIA_TYPE = "application/problem+json"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    status: int
    title: str


SERVICE_ROWS: Mapping[type[ServiceError], Row] = {
    UnknownProviderError: Row(404, "Unknown provider"),
    UnknownModelError: Row(404, "Unknown model"),
    InvalidRequestError: Row(422, "Invalid request"),
    InvalidPathError: Row(400, "Invalid path"),
    InvalidCredentialError: Row(422, "Invalid credential"),
    CredentialNotFoundError: Row(404, "No such credential"),
    VersionConflictError: Row(409, "Version conflict"),
    CommandReusedError: Row(422, "Idempotency key reused"),
    AuditEntryNotFoundError: Row(404, "No such audit entry"),
    ProofNotFoundError: Row(404, "No such proof"),
    SigningOffError: Row(404, "Signing is off"),
    CheckpointRefusedError: Row(500, "Checkpoint refused"),
    RotationRefusedError: Row(409, "Rotation refused"),
    RotationNotFoundError: Row(404, "No such rotation"),
    KeyNotRetirableError: Row(409, "Key not retirable"),
    UnknownProjectionError: Row(404, "Unknown projection"),
    ReplayConflictError: Row(409, "Replay conflict"),
    ReplayNotFoundError: Row(404, "No such replay"),
    ReloadRefusedError: Row(409, "Reload refused"),
    NoCredentialError: Row(424, "No credential"),
    UnreadableCredentialError: Row(500, "Unreadable credential"),
    CredentialIntegrityError: Row(500, "Credential integrity"),
    RejectedCredentialError: Row(424, "Credential rejected"),
    ProviderRefusedError: Row(400, "Refused by the provider"),
    RateLimitedError: Row(429, "Rate limited by the provider"),
    ProviderTimeoutError: Row(504, "Provider timeout"),
    ProviderUnavailableError: Row(502, "Provider unavailable"),
    StoreUnavailableError: Row(503, "Store unavailable"),
}
"""What the domain raises."""

HTTP_ROWS: Mapping[str, Row] = {
    "malformed-json": Row(400, "Malformed JSON"),
    "malformed-header": Row(400, "Malformed header"),
    "reason-required": Row(400, "Reason required"),
    "upgrade-refused": Row(400, "Upgrade refused"),
    "unauthenticated": Row(401, "Unauthenticated"),
    "forbidden": Row(403, "Forbidden"),
    "not-found": Row(404, "Not found"),
    "feature_disabled": Row(404, "Feature disabled"),
    "method-not-allowed": Row(405, "Method not allowed"),
    "request-timeout": Row(408, "Request timeout"),
    "body-too-large": Row(413, "Body too large"),
    "unsupported-media-type": Row(415, "Unsupported media type"),
    "client-left": Row(499, "Client left"),
    "internal-error": Row(500, "Internal error"),
    "shutting-down": Row(503, "Shutting down"),
}
"""What the HTTP interface itself refuses, by code."""

PASSED_ON = frozenset({400, 404, 413, 422})
"""Answers of a provider that a caller gets as they are. A provider's 403 must not look like a refusal of ours."""

VARIANTS: Mapping[str, frozenset[int]] = {
    VersionConflictError.code: frozenset({412}),
    ProviderRefusedError.code: PASSED_ON | {424},
}
"""Statuses that an error can have besides the one in its row, by code."""

_DEPENDENCY = frozenset({402, 403})


class HttpError(Exception):
    """A request that the HTTP interface refuses by itself. `code` is a row of HTTP_ROWS; `detail` is our own text."""

    def __init__(self, code: str, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(code)
        self.code = code
        self.detail = detail
        self.headers = dict(headers or {})


@dataclass(frozen=True, slots=True)
class Problem:
    """A refusal, ready to be written down. `members` are the extension members of RFC 9457."""

    status: int
    code: str
    title: str
    detail: str
    members: Mapping[str, object] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)


def problem_of(error: ServiceError | HttpError) -> Problem:
    """Return the problem that an error is to its caller."""
    if isinstance(error, HttpError):
        row = HTTP_ROWS[error.code]
        return Problem(row.status, error.code, row.title, error.detail, {}, error.headers)
    row = SERVICE_ROWS[type(error)]
    return Problem(_status(error, row), error.code, row.title, error.detail, _members(error), _headers(error))


def internal_problem() -> Problem:
    """Return what is said about an error that nobody foresaw: nothing."""
    return problem_of(HttpError("internal-error", "Something went wrong here. The request id finds it in the log."))


def shutdown_problem() -> Problem:
    """Return what is said to a call that the service cannot wait for any more because it ends."""
    detail = "The service is shutting down and could not finish this. Try again; another node may answer."
    return problem_of(HttpError("shutting-down", detail, {"Retry-After": "5"}))


def problem_response(problem: Problem, scope: Scope) -> Response:
    """Return the problem as the answer to the request of `scope`."""
    exchange_of(scope).refusal = problem.code
    body: dict[str, object] = {
        "type": f"/problems/{problem.code}",
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail,
        "instance": f"urn:request:{exchange_of(scope).request_id}",
        "code": problem.code,
        **problem.members,
    }
    path = routed_path(scope)
    if speaks_openai(path) or is_native(path):
        body["error"] = openai_error(problem)
    return Response(encode(body), problem.status, dict(problem.headers), MEDIA_TYPE)


def openai_error(problem: Problem) -> Mapping[str, object]:
    """Return the problem in the form that OpenAI clients show to their users."""
    return {"message": problem.detail, "type": _openai_type(problem.status), "code": problem.code, "param": None}


def fault_list(faults: Sequence[InvalidField]) -> list[Mapping[str, object]]:
    """Return faults as `errors` lists them. `field` is a plain name, so the pointer needs no escaping."""
    return [{"pointer": _pointer(fault.field), "field": fault.field, "detail": fault.rule} for fault in faults]


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
    if isinstance(error, InvalidRequestError):
        return {"errors": fault_list(error.faults)}
    if isinstance(error, VersionConflictError):
        return {"current_version": error.current}
    if isinstance(error, ProviderRefusedError):
        return {"provider_status": error.status}
    return {}


def _headers(error: ServiceError) -> Mapping[str, str]:
    seconds = error.retry_after if isinstance(error, RateLimitedError | StoreUnavailableError) else None
    return {} if seconds is None else {"Retry-After": str(seconds)}


def _openai_type(status: int) -> str:
    known = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
    return known.get(status, "invalid_request_error" if status < 500 else "api_error")
