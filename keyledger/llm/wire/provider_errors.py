"""Maps what the wire observed to KeyLedger's errors: the one table from a provider's behaviour to a response.

Only 401 means that the provider rejected the key. Promises: an error holds the provider's name and a number or reason
code, and no text from the provider or a library.
"""

from collections.abc import Sequence

from domain.credentials.resolution import Receipt
from domain.errors import (
    InvalidField,
    InvalidRequestError,
    ProviderError,
    ProviderRefusedError,
    ProviderTimeoutError,
    ProviderUnavailableError,
    RateLimitedError,
    RejectedCredentialError,
    ServiceError,
)
from keyledger.llm.requests.parameters import Request
from keyledger.llm.wire.observation import Observation

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
    if status is None or observation.failure is not None or observation.timed_out or status == 401:
        return _observed_error(observation, receipt) or ProviderUnavailableError(receipt.provider, "no-answer")
    if status < 200 or (300 <= status < 400 and status != 304):
        return _by_class(receipt.provider, status)
    return None


def _observed_error(observation: Observation, receipt: Receipt) -> ServiceError | None:
    provider, status = receipt.provider, observation.status
    error: ServiceError | None = None
    if observation.timed_out:
        error = ProviderTimeoutError(provider)
    elif observation.failure is not None:
        error = ProviderUnavailableError(provider, observation.failure)
    elif status == 401:
        error = RejectedCredentialError(provider, receipt.source.value)
    elif status == 429:
        error = RateLimitedError(provider, observation.retry_after)
    elif status is not None and not observation.accepted:
        error = _by_class(provider, status)
    return error


def _by_class(provider: str, status: int) -> ProviderError:
    if 400 <= status < 500:
        return ProviderRefusedError(provider, status)
    return ProviderUnavailableError(provider, "redirect" if 300 <= status < 400 else f"answered-{status}")


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
