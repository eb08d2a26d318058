"""Maps what the wire observed to KeyLedger's errors: the one table from a provider's behaviour to a response.

A key is rejected if the provider's row or the error's code says so. Promises: an error holds the provider's name, its
status, and a reason or code out of a closed list, and no text from the provider or a library.
"""

from collections.abc import Sequence

from domain.credentials.resolution import Receipt
from domain.errors import (
    LATE,
    InvalidField,
    InvalidRequestError,
    ProviderError,
    ProviderRefusedError,
    ProviderUnavailableError,
    RateLimitedError,
    RejectedCredentialError,
    ServiceError,
)
from keyledger.llm.requests.parameters import Request
from keyledger.llm.wire.observation import Observation

_WORTH_A_RETRY = frozenset({409, 425, 498})
"""Statuses that ask for the same request again: clients give up on a 400. 498 is Groq's, for want of capacity."""
_TRANSLATED = ("messages", "input", "tools", "tool_choice", "response_format", "functions", "function_call")


def call_error(observation: Observation, receipt: Receipt, request: Request, named: Sequence[str] = ()) -> ServiceError:
    """Return the error for a failed call.

    request: what was to be sent. named: its parameters that the adapter named as untranslatable, if any.
    """
    return _observed_error(observation, receipt) or _unobserved_error(observation, receipt, request, named)


def native_call_error(observation: Observation, receipt: Receipt) -> ServiceError | None:
    """Return the error for a native call, or None for a response that is passed on, even if it reports an error.

    Redirects are not passed on, because a client that follows one would leave the provider. A 401 is reported as for
    other calls, and must not look to callers like a response to their own key.
    """
    status = observation.status
    if status is None or observation.failure is not None or observation.timed_out or observation.rejected:
        return unsuccessful_error(observation, receipt)
    if status < 200 or (300 <= status < 400 and status != 304):
        return _by_class(receipt.provider, status, observation)
    return None


def unsuccessful_error(observation: Observation, receipt: Receipt) -> ServiceError:
    """Return the error for a call of which only its success matters, where it had none."""
    return _observed_error(observation, receipt) or ProviderUnavailableError(receipt.provider, "no-answer")


def _observed_error(observation: Observation, receipt: Receipt) -> ServiceError | None:
    provider, status = receipt.provider, observation.status
    error: ServiceError | None = None
    if observation.timed_out:
        error = ProviderUnavailableError(provider, LATE)
    elif observation.failure is not None:
        error = ProviderUnavailableError(provider, observation.failure)
    elif observation.rejected:
        error = RejectedCredentialError(provider, receipt.source.value)
    elif status == 429:
        error = RateLimitedError(provider, observation.retry_after, observation.code)
    elif status is not None and not observation.accepted:
        error = _by_class(provider, status, observation)
    return error


def _by_class(provider: str, status: int, observation: Observation) -> ProviderError:
    if status == 408:
        return ProviderUnavailableError(provider, LATE, observation.retry_after)
    if 400 <= status < 500 and status not in _WORTH_A_RETRY:
        return ProviderRefusedError(provider, status, observation.code)
    reason = "redirect" if 300 <= status < 400 else f"answered-{status}"
    return ProviderUnavailableError(provider, reason, observation.retry_after, observation.code)


def _unobserved_error(
    observation: Observation, receipt: Receipt, request: Request, named: Sequence[str]
) -> ServiceError:
    """Return the error where the wire observed none: before the request was sent, or in a successful response."""
    if observation.sent:
        return ProviderUnavailableError(receipt.provider, "answer-not-usable")
    if _is_plain(request):
        return ProviderUnavailableError(receipt.provider, "adapter-fault")
    rule = f"is not supported by {receipt.provider} for this model; change or omit it"
    fields = named or [name for name in _TRANSLATED if name in request.parameters]
    return InvalidRequestError([InvalidField(field, rule) for field in fields])


def _is_plain(request: Request) -> bool:
    """Return whether the request is so simple that failing to translate it cannot be blamed on the client."""
    if set(request.parameters) | set(request.extras) == {"input"}:
        return True
    messages = request.parameters.get("messages")
    if not isinstance(messages, list) or set(request.parameters) | set(request.extras) != {"messages"}:
        return False
    return all(
        set(message) == {"role", "content"} and message["role"] == "user" and isinstance(message["content"], str)
        for message in messages
    )
