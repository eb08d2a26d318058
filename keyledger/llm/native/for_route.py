"""A relayed call as distinct from a native one: its model, and the proper end of its streams."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from domain.calls.models import Model
from domain.calls.native import Body
from keyledger.llm.answers.event_ends import EventEnds


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
