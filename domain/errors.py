"""Every way in which KeyLedger says no. No HTTP here: `api.front.problems` is the one table that maps these to numbers.

    ServiceError
    +- Refused                  a rule was broken; nothing was recorded
    |  +- UnknownProviderError         no such provider
    |  +- UnknownModelError            no such model in the catalogue
    |  +- InvalidCredentialError       fields of the request, each with the rule it breaks
    |  +- InvalidRequestError          the same for requests that are not about a credential
    |  +- InvalidPathError             a path that may not be put behind a provider's address
    |  +- CredentialNotFoundError      the tenant has none for this provider
    |  +- VersionConflictError         somebody else was faster, or a precondition does not hold
    |  +- CommandReusedError           an idempotency key came again with another request
    |  +- AuditEntryNotFoundError      the log has no such position
    |  +- ProofNotFoundError             what is to be proven is not in the log
    |  +- SigningOffError              the service has no key to sign checkpoints with
    |  +- RotationRefusedError         a rotation may not start
    |  +- RotationNotFoundError        there is no such rotation
    |  +- KeyNotRetirableError         an encryption key is still needed
    |  +- UnknownProjectionError       there is no such view
    |  +- ReplayConflictError          a view cannot be replayed or swapped right now
    |  +- ReplayNotFoundError          there is no such replay
    |  +- ReloadRefusedError           the settings as they are now are not fit to serve with
    +- UnresolvableError             no key may serve this call; raised instead of falling back
    |  +- NoCredentialError            neither the tenant nor the platform has a key for it
    |  +- UnreadableCredentialError    sealed under a key this service does not have, or not openable
    |  +- CredentialIntegrityError  stored data do not belong together
    |  +- RejectedCredentialError      the provider refuses the key
    +- ProviderError           the key was right, the call still failed
    |  +- ProviderRefusedError         the provider does not accept this request
    |  +- RateLimitedError             the provider's own limit, with its Retry-After
    |  +- ProviderTimeoutError         no answer in time
    |  +- ProviderUnavailableError     not reachable, or answered with a fault of its own
    +- CheckpointRefusedError        the log contradicts the last checkpoint; nothing is signed
    +- StoreUnavailableError         the database does not answer; the outcome of a write may be unknown

Promises: a message holds no secret, no stored value and no text from a provider, a driver or a cipher.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


class ServiceError(Exception):
    """Base of all errors that a caller may see. `code` is stable; `detail` is written for people."""

    code: ClassVar[str]

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class RefusedError(ServiceError):
    """A rule was broken; nothing was recorded."""


class UnknownProviderError(RefusedError):
    """The provider is not in the table."""

    code = "unknown-provider"

    def __init__(self, known: Sequence[str]) -> None:
        super().__init__(f"There is no such provider. Known providers: {', '.join(known)}.")


class UnknownModelError(RefusedError):
    """The model is not in the catalogue."""

    code = "unknown-model"

    def __init__(self, source: str) -> None:
        super().__init__(
            f"This model is not in the catalogue. Models come from {source}; GET .../openai/v1/models lists them."
        )


@dataclass(frozen=True, slots=True)
class InvalidField:
    """One fault in a request: `field` is the field's name, `rule` says what is wrong and how to mend it."""

    field: str
    rule: str


class InvalidRequestError(RefusedError):
    """Fields break rules. Never carries a value that was sent."""

    code = "invalid-request"

    def __init__(self, faults: Sequence[InvalidField]) -> None:
        super().__init__("; ".join(f"{fault.field}: {fault.rule}" for fault in faults))
        self.faults = tuple(faults)


class InvalidCredentialError(InvalidRequestError):
    """Fields of a credential break rules of its provider."""

    code = "invalid-credential"


class InvalidPathError(RefusedError):
    """A path or query for a provider's own API breaks a rule. `rule` says which, and repeats nothing of it."""

    code = "invalid-path"

    def __init__(self, rule: str) -> None:
        super().__init__(f"The path behind the provider's name {rule}.")


class CredentialNotFoundError(RefusedError):
    """The tenant has no credential for the provider."""

    code = "credential-not-found"

    def __init__(self, tenant_id: str, provider: str) -> None:
        super().__init__(f"Tenant {tenant_id} has no credential for {provider}.")


class VersionConflictError(RefusedError):
    """The credential is at another version than the command expected.

    current: the version it is at, 0 when there has never been one.
    precondition: True when the caller stated the version, so that trying again cannot help.
    """

    code = "version-conflict"

    def __init__(self, current: int, *, precondition: bool) -> None:
        what = "the stated precondition does not hold" if precondition else "others change it at the same time"
        super().__init__(f"The credential is at version {current}; {what}. Read it again, then decide.")
        self.current = current
        self.precondition = precondition


class CommandReusedError(RefusedError):
    """An idempotency key was used before for another request on this credential."""

    code = "idempotency-key-reused"

    def __init__(self) -> None:
        super().__init__("This Idempotency-Key was used for a different request. Use a fresh key for a new request.")


class AuditEntryNotFoundError(RefusedError):
    """The log has no event at this position."""

    code = "audit-entry-not-found"

    def __init__(self, position: int) -> None:
        super().__init__(f"There is no audit entry at position {position}.")


class ProofNotFoundError(RefusedError):
    """What is to be proven is not in the log."""

    code = "no-such-proof"

    def __init__(self, what: str) -> None:
        super().__init__(f"There is no such proof: {what}.")


class SigningOffError(RefusedError):
    """The service has no key to sign checkpoints with."""

    code = "signing-off"

    def __init__(self) -> None:
        super().__init__(
            "This service signs no checkpoints. An operator can set AUDIT_SIGNING_KEY; make one with:"
            " keyledger audit generate-signing-key"
        )


class RotationRefusedError(RefusedError):
    """A rotation may not start. The text names what stands in its way."""

    code = "rotation-refused"


class RotationNotFoundError(RefusedError):
    """No rotation has this id."""

    code = "rotation-not-found"

    def __init__(self) -> None:
        super().__init__("There is no rotation of this id.")


class KeyNotRetirableError(RefusedError):
    """An encryption key is still needed, or is none. `reasons` say why, one by one."""

    code = "key-not-retirable"

    def __init__(self, reasons: Sequence[str]) -> None:
        super().__init__(f"The key cannot be retired: {'; '.join(reasons)}.")
        self.reasons = tuple(reasons)


class UnknownProjectionError(RefusedError):
    """There is no view of this name."""

    code = "unknown-projection"

    def __init__(self, known: Sequence[str]) -> None:
        super().__init__(f"There is no such projection. Known projections: {', '.join(known)}.")


class ReplayConflictError(RefusedError):
    """A view cannot be replayed or swapped right now. The text says what is in the way; the live view is as it was."""

    code = "replay-conflict"


class ReplayNotFoundError(RefusedError):
    """No replay of the view has this id."""

    code = "replay-not-found"

    def __init__(self) -> None:
        super().__init__("There is no replay of this id.")


class ReloadRefusedError(RefusedError):
    """The settings as they are now are not fit to serve with; those in force stay. `faults` names all, no values."""

    code = "reload-refused"

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__(f"The settings in force stay: {'; '.join(faults)}")
        self.faults = tuple(faults)


class UnresolvableError(ServiceError):
    """No key may serve this call. The answer to it is never another key."""


class NoCredentialError(UnresolvableError):
    """Neither the tenant nor the platform has a key for the provider, or the platform's may not be used."""

    code = "no-credential"

    def __init__(self, tenant_id: str, provider: str, reason: str, *, remedy: str | None = None) -> None:
        """remedy: what would mend it, where setting the tenant's credential would not."""
        by_default = f"Set one with PUT /api/v1/sysadmin/tenants/{tenant_id}/credentials/{provider}"
        super().__init__(f"No API key for provider '{provider}': {reason}. {remedy or by_default}.")
        self.provider = provider


class UnreadableCredentialError(UnresolvableError):
    """The tenant's credential cannot be opened. Carries the key id it needs and a reason code, nothing else."""

    code = "credential-unreadable"

    def __init__(self, key_id: str, reason: str) -> None:
        super().__init__(
            f"The stored credential cannot be opened (key {key_id}: {reason}). Set it again to replace it."
        )
        self.key_id = key_id
        self.reason = reason


class CredentialIntegrityError(UnresolvableError):
    """Stored data do not belong together: changed, moved, removed or replayed. `reason` is a code."""

    code = "credential-integrity"

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"The stored credential failed its integrity check ({reason}) and was not used. An operator has to look."
        )
        self.reason = reason


class RejectedCredentialError(UnresolvableError):
    """The provider answered that the key is not valid."""

    code = "credential-rejected"

    def __init__(self, provider: str, source: str) -> None:
        super().__init__(f"{provider} refused the {source} API key (401). No other key was tried; replace the key.")
        self.provider = provider


class ProviderError(ServiceError):
    """The call reached for the provider with the right key and failed for another reason."""


class ProviderRefusedError(ProviderError):
    """The provider does not accept this request. `status` is the provider's answer, a 4xx other than 401 and 429."""

    code = "provider-refused"

    def __init__(self, provider: str, status: int) -> None:
        super().__init__(f"{provider} does not accept this request (it answered {status}).")
        self.status = status


class RateLimitedError(ProviderError):
    """The provider's rate limit. `retry_after` is in seconds where the provider gave it."""

    code = "provider-rate-limited"

    def __init__(self, provider: str, retry_after: int | None) -> None:
        super().__init__(f"{provider} limits the rate of this key. Try again later.")
        self.retry_after = retry_after


class ProviderTimeoutError(ProviderError):
    """The provider did not answer in time."""

    code = "provider-timeout"

    def __init__(self, provider: str) -> None:
        super().__init__(f"{provider} did not answer in time.")


class ProviderUnavailableError(ProviderError):
    """The provider is not reachable, must not be reached, or answered with a fault of its own. `reason` is a code."""

    code = "provider-unavailable"

    def __init__(self, provider: str, reason: str) -> None:
        super().__init__(f"{provider} cannot be used right now ({reason}).")
        self.reason = reason


class CheckpointRefusedError(ServiceError):
    """The log does not continue the last checkpoint that was kept, so nothing is signed."""

    code = "checkpoint-refused"

    def __init__(self, why: str) -> None:
        super().__init__(f"No checkpoint is signed: {why}. An operator has to look.")


class StoreUnavailableError(ServiceError):
    """The database did not answer. A write whose answer was lost may have happened: repeat it with the same
    Idempotency-Key and it happens once."""

    code = "store-unavailable"
    retry_after = 2

    def __init__(self) -> None:
        super().__init__("The store is not available. Try again; repeat a write with the same Idempotency-Key.")
