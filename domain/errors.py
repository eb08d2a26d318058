"""All errors that KeyLedger reports to its callers, grouped by what a caller does about them.

    ServiceError
    +- InvalidRequestError        correct the request
    +- NotFoundError              name something that exists
    |  +- CredentialNotFoundError   or set the tenant's credential first
    +- ConflictError              read the state again, then decide
    |  +- VersionConflictError      it changed meanwhile, or a precondition does not hold
    +- AccessError                use another access key or token, have its scope changed, wait as long as it says, or
    |                             have another person approve
    +- UnresolvableError          no key may serve this call, and no other key is tried; itself: ask an operator
    |  +- NoCredentialError         set the tenant's credential, or have the platform's key configured
    |  +- RejectedCredentialError   replace the key: the provider rejects it
    |  +- UnreadableCredentialError set the credential again: it cannot be decrypted
    |  +- CredentialIntegrityError  ask an operator: stored data was changed or moved
    +- ProviderError              the key was right, but the call failed
    |  +- ProviderRefusedError      correct the request: the provider does not accept it
    |  +- RateLimitedError          wait as long as it says, then repeat
    |  +- ProviderUnavailableError  repeat later
    +- StoreUnavailableError      repeat with the same Idempotency-Key: the outcome of a write may be unknown
    +- CheckpointRefusedError     ask an operator: the log contradicts the last checkpoint

A class stands for one thing to do; its `code` says which rule was broken. Nothing here knows HTTP: the table that maps
codes to status numbers is in `api.front.problems`.
Promises: a message holds no secret, no stored value and no text from a provider, a driver or a cipher.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from domain.error_codes import ErrorCode as ErrorCode  # noqa: PLC0414  callers of errors need their codes

LATE = "late"
"""The reason of a provider that did not answer in time."""


class ServiceError(Exception):
    """Base of all errors that a caller may see. `code` is an `ErrorCode` as text; `detail` is written for people.

    retry_after: seconds after which it is worth trying again; None if that is not known.
    """

    retry_after: int | None = None

    def __init__(self, code: ErrorCode, detail: str) -> None:
        super().__init__(detail)
        self.code: str = code.value
        self.detail = detail


FIELDS_MAX = 20
"""Fields that one error names. A request with more has the same mistake many times, or is meant to cost time."""


@dataclass(frozen=True, slots=True)
class InvalidField:
    """One invalid field of a request. field: its name. rule: what is wrong and how to fix it."""

    field: str
    rule: str


class InvalidRequestError(ServiceError):
    """The request breaks a rule; nothing was recorded. Never carries a value that was sent.

    fields: those that break rules, where the rule is one of fields; at most the first `FIELDS_MAX`.
    """

    def __init__(
        self,
        fields: Sequence[InvalidField],
        code: ErrorCode = ErrorCode.INVALID_REQUEST,
        detail: str | None = None,
    ) -> None:
        """detail: by default the fields, each with its rule."""
        self.fields = tuple(fields[:FIELDS_MAX])
        super().__init__(code, detail or "; ".join(f"{invalid.field}: {invalid.rule}" for invalid in self.fields))


class NotFoundError(ServiceError):
    """The request names something that does not exist; nothing was recorded."""


class CredentialNotFoundError(NotFoundError):
    """The tenant has no credential for the provider."""

    def __init__(self, tenant_id: str, provider: str) -> None:
        super().__init__(ErrorCode.CREDENTIAL_NOT_FOUND, f"Tenant {tenant_id} has no credential for {provider}.")


class ConflictError(ServiceError):
    """The ledger is in a state that does not allow the command. The text says what is in the way; nothing changed."""


class VersionConflictError(ConflictError):
    """The credential, access key or tenant is at another version than the command expected.

    current: the version it is at, 0 when there has never been one.
    precondition: True when the caller stated the version, so that trying again cannot help.
    """

    def __init__(self, current: int, *, precondition: bool, what: str = "credential") -> None:
        """what: the thing that has versions."""
        detail = (
            f"The {what} is at version {current}, so the stated precondition does not hold. Read it again, then decide."
            if precondition
            else f"The {what} was changed by another request (now at version {current}). Read it again and retry."
        )
        super().__init__(ErrorCode.VERSION_CONFLICT, detail)
        self.current = current
        self.precondition = precondition


class AccessError(ServiceError):
    """The caller's access key, token or session does not admit the request; nothing was done.

    retry_after: in seconds, where waiting helps. reason: a code for logs, where an issuer gave no usable answer.
    decided: the events that need a second person, where that is missing. token: of an access key among them.
    """

    def __init__(
        self,
        code: ErrorCode,
        detail: str,
        retry_after: int | None = None,
        reason: str = "",
        decided: Sequence[Any] = (),
    ) -> None:
        super().__init__(code, detail)
        self.retry_after = retry_after
        self.reason = reason
        self.decided = decided
        self.token: Any = None


class UnresolvableError(ServiceError):
    """No key may serve this call. Never try another key instead.

    Itself: the operator's rules for the tenant do not allow it.
    """


class NoCredentialError(UnresolvableError):
    """Neither the tenant nor the platform has a key for the provider, or the platform's may not be used."""

    def __init__(self, tenant_id: str, provider: str, reason: str, *, remedy: str | None = None) -> None:
        """remedy: how to fix it, where setting the tenant's credential would not help."""
        by_default = f"Set one with PUT /api/v1/sysadmin/tenants/{tenant_id}/credentials/{provider}"
        detail = f"No API key for provider '{provider}': {reason}. {remedy or by_default}."
        super().__init__(ErrorCode.NO_CREDENTIAL, detail)


class RejectedCredentialError(UnresolvableError):
    """The provider says that the key is not valid."""

    def __init__(self, provider: str, source: str) -> None:
        detail = f"{provider} rejected the {source} API key. No other key was tried; replace the key."
        super().__init__(ErrorCode.CREDENTIAL_REJECTED, detail)


class UnreadableCredentialError(UnresolvableError):
    """The tenant's credential cannot be opened. key_id: the encryption key it needs. reason: a code."""

    def __init__(self, key_id: str, reason: str) -> None:
        detail = f"The stored credential cannot be opened (key {key_id}: {reason}). Set it again to replace it."
        super().__init__(ErrorCode.CREDENTIAL_UNREADABLE, detail)
        self.key_id = key_id
        self.reason = reason


class CredentialIntegrityError(UnresolvableError):
    """Stored data was changed, moved, removed or replayed. reason: a code. what: the thing that was stored."""

    def __init__(self, reason: str, what: str = "credential") -> None:
        detail = (
            f"The stored {what} failed its integrity check ({reason}), so no call was made. Ask an operator to"
            " investigate."
        )
        super().__init__(ErrorCode.CREDENTIAL_INTEGRITY, detail)
        self.reason = reason


def _with(provider_code: str | None) -> str:
    return f" ({provider_code})" if provider_code else ""


class ProviderError(ServiceError):
    """The call used the right key and failed for another reason."""


class ProviderRefusedError(ProviderError):
    """The provider rejected this request. status: the provider's, a 4xx.

    provider_code: the provider's own code, out of a closed list.
    """

    def __init__(self, provider: str, status: int, provider_code: str | None = None) -> None:
        detail = f"{provider} rejected this request with status {status}{_with(provider_code)}."
        super().__init__(ErrorCode.PROVIDER_REFUSED, detail)
        self.status = status
        self.provider_code = provider_code


class RateLimitedError(ProviderError):
    """The provider's rate limit or quota was reached. retry_after: in seconds, None if the provider did not say.

    provider_code: the provider's own code, out of a closed list.
    """

    def __init__(self, provider: str, retry_after: int | None, provider_code: str | None = None) -> None:
        detail = f"{provider} is rate limiting this key{_with(provider_code)}. Try again later."
        super().__init__(ErrorCode.PROVIDER_RATE_LIMITED, detail)
        self.retry_after = retry_after
        self.provider_code = provider_code


class ProviderUnavailableError(ProviderError):
    """The provider is not reachable, must not be called, failed itself, or is late. reason: a code.

    retry_after: in seconds. provider_code: the provider's own code, out of a closed list.
    """

    def __init__(
        self, provider: str, reason: str, retry_after: int | None = None, provider_code: str | None = None
    ) -> None:
        """reason: `LATE` if it did not answer in time."""
        late = reason == LATE
        code = ErrorCode.PROVIDER_TIMEOUT if late else ErrorCode.PROVIDER_UNAVAILABLE
        super().__init__(
            code, f"{provider} did not answer in time." if late else f"{provider} cannot be used right now ({reason})."
        )
        self.reason = reason
        self.retry_after = retry_after
        self.provider_code = provider_code


class StoreUnavailableError(ServiceError):
    """The database did not answer. A write may have happened nevertheless: repeated with the same Idempotency-Key, it
    happens once. Or its log is not the one that this node knows, so nothing may be written (`log-contradicted`)."""

    retry_after = 2

    def __init__(self, reason: str | None = None, *, brief: str = "", contradicted: bool = False) -> None:
        """reason: why and what to do about it, in full sentences, if that is known. brief: why, fit for `/readyz`."""
        by_default = "The database is not available. Try again; repeat a write with the same Idempotency-Key."
        code = ErrorCode.LOG_CONTRADICTED if contradicted else ErrorCode.STORE_UNAVAILABLE
        super().__init__(code, reason or by_default)
        self.reason = reason
        self.brief = brief


class CheckpointRefusedError(ServiceError):
    """Nothing is signed: the log contradicts the last checkpoint that was kept, or the next one cannot be kept.

    log_is_right: only the second is the case.
    """

    def __init__(self, why: str, *, log_is_right: bool = False) -> None:
        self.log_is_right = log_is_right
        super().__init__(
            ErrorCode.CHECKPOINT_REFUSED, f"No checkpoint was signed: {why}. Ask an operator to investigate."
        )
