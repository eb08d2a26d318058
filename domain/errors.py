"""Every way in which KeyLedger says no, by what a caller does about it.

    ServiceError
    +- InvalidRequestError        correct the request
    +- NotFoundError              name something that exists
    |  +- CredentialNotFoundError   or set the tenant's credential first
    +- ConflictError              read the state again, then decide
    |  +- VersionConflictError      the credential changed meanwhile, or a precondition does not hold
    +- UnresolvableError          no key may serve this call, and no other key is tried
    |  +- NoCredentialError         set the tenant's credential, or have the platform's key configured
    |  +- RejectedCredentialError   replace the key: the provider rejects it
    |  +- UnreadableCredentialError set the credential again: it cannot be decrypted
    |  +- CredentialIntegrityError  ask an operator: stored data do not belong together
    +- ProviderError              the key was right, the call still failed
    |  +- ProviderRefusedError      correct the request: the provider does not accept it
    |  +- RateLimitedError          wait as long as it says, then repeat
    |  +- ProviderTimeoutError      repeat later
    |  +- ProviderUnavailableError  repeat later
    +- StoreUnavailableError      repeat with the same Idempotency-Key: the outcome of a write may be unknown
    +- CheckpointRefusedError     ask an operator: the log contradicts the last checkpoint

A class is one thing to do; its `code` says which rule it was. No HTTP here: `api.front.problems` is the one table that
maps codes to numbers.
Promises: a message holds no secret, no stored value and no text from a provider, a driver or a cipher.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class ErrorCode(StrEnum):
    """The stable names of errors. Callers compare them; they never change."""

    INVALID_REQUEST = "invalid-request"
    INVALID_CREDENTIAL = "invalid-credential"
    INVALID_PATH = "invalid-path"
    IDEMPOTENCY_KEY_REUSED = "idempotency-key-reused"

    UNKNOWN_PROVIDER = "unknown-provider"
    UNKNOWN_MODEL = "unknown-model"
    UNKNOWN_PROJECTION = "unknown-projection"
    CREDENTIAL_NOT_FOUND = "credential-not-found"
    AUDIT_ENTRY_NOT_FOUND = "audit-entry-not-found"
    ROTATION_NOT_FOUND = "rotation-not-found"
    REPLAY_NOT_FOUND = "replay-not-found"
    NO_SUCH_PROOF = "no-such-proof"
    SIGNING_OFF = "signing-off"

    VERSION_CONFLICT = "version-conflict"
    ROTATION_REFUSED = "rotation-refused"
    KEY_NOT_RETIRABLE = "key-not-retirable"
    REPLAY_CONFLICT = "replay-conflict"
    RELOAD_REFUSED = "reload-refused"

    NO_CREDENTIAL = "no-credential"
    CREDENTIAL_REJECTED = "credential-rejected"
    CREDENTIAL_UNREADABLE = "credential-unreadable"
    CREDENTIAL_INTEGRITY = "credential-integrity"

    PROVIDER_REFUSED = "provider-refused"
    PROVIDER_RATE_LIMITED = "provider-rate-limited"
    PROVIDER_TIMEOUT = "provider-timeout"
    PROVIDER_UNAVAILABLE = "provider-unavailable"

    STORE_UNAVAILABLE = "store-unavailable"
    CHECKPOINT_REFUSED = "checkpoint-refused"


class ServiceError(Exception):
    """Base of all errors that a caller may see. `code` is an `ErrorCode` as text; `detail` is written for people."""

    def __init__(self, code: ErrorCode, detail: str) -> None:
        super().__init__(detail)
        self.code: str = code.value
        self.detail = detail


@dataclass(frozen=True, slots=True)
class InvalidField:
    """One broken field of a request: `field` is its name, `rule` says what is wrong and how to mend it."""

    field: str
    rule: str


class InvalidRequestError(ServiceError):
    """The request breaks a rule; nothing was recorded. Never carries a value that was sent.

    fields: those that break rules, where the rule is one of fields.
    """

    def __init__(
        self,
        fields: Sequence[InvalidField],
        code: ErrorCode = ErrorCode.INVALID_REQUEST,
        detail: str | None = None,
    ) -> None:
        """detail: by default the fields, each with its rule."""
        super().__init__(code, detail or "; ".join(f"{invalid.field}: {invalid.rule}" for invalid in fields))
        self.fields = tuple(fields)


class NotFoundError(ServiceError):
    """The request names what does not exist; nothing was recorded."""


class CredentialNotFoundError(NotFoundError):
    """The tenant has no credential for the provider."""

    def __init__(self, tenant_id: str, provider: str) -> None:
        super().__init__(ErrorCode.CREDENTIAL_NOT_FOUND, f"Tenant {tenant_id} has no credential for {provider}.")


class ConflictError(ServiceError):
    """The state of the ledger does not allow the command now. The text says what is in the way; nothing changed."""


class VersionConflictError(ConflictError):
    """The credential is at another version than the command expected.

    current: the version it is at, 0 when there has never been one.
    precondition: True when the caller stated the version, so that trying again cannot help.
    """

    def __init__(self, current: int, *, precondition: bool) -> None:
        what = "the stated precondition does not hold" if precondition else "others change it at the same time"
        detail = f"The credential is at version {current}; {what}. Read it again, then decide."
        super().__init__(ErrorCode.VERSION_CONFLICT, detail)
        self.current = current
        self.precondition = precondition


class UnresolvableError(ServiceError):
    """No key may serve this call. The answer to it is never another key."""


class NoCredentialError(UnresolvableError):
    """Neither the tenant nor the platform has a key for the provider, or the platform's may not be used."""

    def __init__(self, tenant_id: str, provider: str, reason: str, *, remedy: str | None = None) -> None:
        """remedy: what would mend it, where setting the tenant's credential would not."""
        by_default = f"Set one with PUT /api/v1/sysadmin/tenants/{tenant_id}/credentials/{provider}"
        detail = f"No API key for provider '{provider}': {reason}. {remedy or by_default}."
        super().__init__(ErrorCode.NO_CREDENTIAL, detail)


class RejectedCredentialError(UnresolvableError):
    """The provider answered that the key is not valid."""

    def __init__(self, provider: str, source: str) -> None:
        detail = f"{provider} refused the {source} API key (401). No other key was tried; replace the key."
        super().__init__(ErrorCode.CREDENTIAL_REJECTED, detail)


class UnreadableCredentialError(UnresolvableError):
    """The tenant's credential cannot be opened. Carries the key id it needs and a reason code, nothing else."""

    def __init__(self, key_id: str, reason: str) -> None:
        detail = f"The stored credential cannot be opened (key {key_id}: {reason}). Set it again to replace it."
        super().__init__(ErrorCode.CREDENTIAL_UNREADABLE, detail)
        self.key_id = key_id
        self.reason = reason


class CredentialIntegrityError(UnresolvableError):
    """Stored data do not belong together: changed, moved, removed or replayed. `reason` is a code."""

    def __init__(self, reason: str) -> None:
        detail = (
            f"The stored credential failed its integrity check ({reason}) and was not used. An operator has to look."
        )
        super().__init__(ErrorCode.CREDENTIAL_INTEGRITY, detail)
        self.reason = reason


class ProviderError(ServiceError):
    """The call reached for the provider with the right key and failed for another reason."""


class ProviderRefusedError(ProviderError):
    """The provider does not accept this request. `status` is the provider's answer, a 4xx other than 401 and 429."""

    def __init__(self, provider: str, status: int) -> None:
        detail = f"{provider} does not accept this request (it answered {status})."
        super().__init__(ErrorCode.PROVIDER_REFUSED, detail)
        self.status = status


class RateLimitedError(ProviderError):
    """The provider's rate limit. `retry_after` is in seconds where the provider gave it."""

    def __init__(self, provider: str, retry_after: int | None) -> None:
        detail = f"{provider} limits the rate of this key. Try again later."
        super().__init__(ErrorCode.PROVIDER_RATE_LIMITED, detail)
        self.retry_after = retry_after


class ProviderTimeoutError(ProviderError):
    """The provider did not answer in time."""

    def __init__(self, provider: str) -> None:
        super().__init__(ErrorCode.PROVIDER_TIMEOUT, f"{provider} did not answer in time.")


class ProviderUnavailableError(ProviderError):
    """The provider is not reachable, must not be reached, or answered with an error of its own. `reason` is a code."""

    def __init__(self, provider: str, reason: str) -> None:
        super().__init__(ErrorCode.PROVIDER_UNAVAILABLE, f"{provider} cannot be used right now ({reason}).")
        self.reason = reason


class StoreUnavailableError(ServiceError):
    """The database did not answer. A write whose answer was lost may have happened: repeat it with the same
    Idempotency-Key and it happens once."""

    retry_after = 2

    def __init__(self, reason: str | None = None) -> None:
        """reason: why and what to do, in full sentences, where that is known."""
        by_default = "The store is not available. Try again; repeat a write with the same Idempotency-Key."
        super().__init__(ErrorCode.STORE_UNAVAILABLE, reason or by_default)
        self.reason = reason


class CheckpointRefusedError(ServiceError):
    """The log does not continue the last checkpoint that was kept, so nothing is signed."""

    def __init__(self, why: str) -> None:
        super().__init__(ErrorCode.CHECKPOINT_REFUSED, f"No checkpoint is signed: {why}. An operator has to look.")
