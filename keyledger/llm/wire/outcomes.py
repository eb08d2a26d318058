"""What went wrong, from what the wire saw: the one table from a provider's behaviour to our errors.

Only 401 means that the key is bad. Promises: the error carries the provider's name, a number or a reason code, and
nothing that the provider or a library wrote.
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
from keyledger.llm.wire.observation import Seen

_TRANSLATED = ("messages", "input", "tools", "tool_choice", "response_format", "functions", "function_call")


def outcome(seen: Seen, receipt: Receipt, request: Request, blamed: Sequence[str] = ()) -> ServiceError:
    """Return the error for a call that failed.

    request: what was to be sent. blamed: the members of it that the adapter could not translate, where it said so.
    """
    return _seen_fault(seen, receipt) or _unseen_fault(seen, receipt, request, blamed)


def native_outcome(seen: Seen, receipt: Receipt) -> ServiceError | None:
    """Return the error for a native call, or None for an answer that is passed on, also where it is a refusal.

    A redirect is none: whoever follows it takes the call elsewhere. What is said about 401 must not differ from other
    calls, and a caller must not take it for an answer to its own key.
    """
    status = seen.status
    if status is None or seen.failure is not None or seen.timed_out or status == 401:
        return _seen_fault(seen, receipt) or ProviderUnavailableError(receipt.provider, "no-answer")
    if status < 200 or (300 <= status < 400 and status != 304):
        return _by_class(receipt.provider, status)
    return None


def _seen_fault(seen: Seen, receipt: Receipt) -> ServiceError | None:
    provider, status = receipt.provider, seen.status
    fault: ServiceError | None = None
    if seen.timed_out:
        fault = ProviderTimeoutError(provider)
    elif seen.failure is not None:
        fault = ProviderUnavailableError(provider, seen.failure)
    elif status == 401:
        fault = RejectedCredentialError(provider, receipt.source.value)
    elif status == 429:
        fault = RateLimitedError(provider, seen.retry_after)
    elif status is not None and not seen.accepted:
        fault = _by_class(provider, status)
    return fault


def _by_class(provider: str, status: int) -> ProviderError:
    if 400 <= status < 500:
        return ProviderRefusedError(provider, status)
    return ProviderUnavailableError(provider, "redirect" if 300 <= status < 400 else f"answered-{status}")


def _unseen_fault(seen: Seen, receipt: Receipt, request: Request, blamed: Sequence[str]) -> ServiceError:
    """Return the error where the wire saw nothing wrong: before a request was sent, or in a right answer."""
    if seen.sent:
        return ProviderUnavailableError(receipt.provider, "answer-not-usable")
    if _is_plain(request):
        return ProviderUnavailableError(receipt.provider, "adapter-fault")
    rule = f"{receipt.provider} does not take this for this model; change it, or leave it out"
    fields = blamed or [name for name in _TRANSLATED if name in request.members]
    return InvalidRequestError([InvalidField(field, rule) for field in fields])


def _is_plain(request: Request) -> bool:
    """Say whether nothing in the request is hard to translate, so that the fault is not the client's."""
    if set(request.members) | set(request.extras) == {"input"}:
        return True
    messages = request.members.get("messages")
    if not isinstance(messages, list) or set(request.members) | set(request.extras) != {"messages"}:
        return False
    return all(
        set(message) == {"role", "content"} and message["role"] == "user" and isinstance(message["content"], str)
        for message in messages
    )
