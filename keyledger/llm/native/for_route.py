"""A relayed call as distinct from a native one: its model, and the proper end of its streams."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from domain.calls.models import Model
from domain.calls.native import Body, NativeCall
from keyledger.llm.answers.event_ends import EventEnds
from keyledger.llm.call_configuration import CallConfiguration
from keyledger.llm.metering import Called, caller_of
from keyledger.llm.requests.most_tokens import Most, most_of


@dataclass(frozen=True, slots=True)
class ModelOfBody:
    """The model of a call. named: returns the body with the provider's name of it, and its length, if it is known."""

    model: Model
    named: Callable[[str], Awaitable[tuple[bytes | Body, int | None]]]


@dataclass(frozen=True, slots=True)
class ForRoute:
    """The route of one call.

    ends: tells whether a stream of events ended properly. called: the model; None for a route that reaches what an
    account keeps, which the global key never does. generates: the provider bills the call by tokens.
    members: of the body, as far as they were read.
    """

    ends: EventEnds
    called: ModelOfBody | None
    generates: bool = True
    members: Mapping[str, object] = field(default_factory=dict)


def called_of(
    call: NativeCall, relayed: ForRoute | None, configuration: CallConfiguration, *, opens: bool = False
) -> Called:
    """Return the model of a call, for its record. opens: the call opens a WebSocket, whose use is not known."""
    model = relayed.called.model if relayed is not None and relayed.called is not None else None
    return Called(
        configuration.catalogue,
        configuration.prices,
        model.name if model is not None else "",
        model.upstream_name if model is not None else "",
        generates=opens or (call.method == "POST" if relayed is None else relayed.generates),
        access_key=caller_of(call.admission),
    )


async def most_of_call(call: NativeCall, members: Mapping[str, object]) -> Most:
    """Return the most tokens that a call can use. members: of its body, as far as they are known."""
    return most_of(len(call.body) if isinstance(call.body, bytes) else call.length, members)
