"""The model of a relayed call, and the proper end of its streams; native calls have neither."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from domain.calls.models import Model
from domain.calls.native import Body
from keyledger.llm.answers.event_ends import EventEnds


@dataclass(frozen=True, slots=True)
class ForModel:
    """The model of one call.

    named: returns the body with the provider's name of the model, and its length in bytes, if that is known.
    ends: tells whether a stream of events ended properly.
    """

    model: Model
    named: Callable[[str], Awaitable[tuple[bytes | Body, int | None]]]
    ends: EventEnds
