"""How large and how intricate a provider's answer may be, in proportion to what was asked.

A tenant's endpoint answers what it likes, and libraries build objects from it on the event loop that serves all
tenants: what they are given costs milliseconds, whatever was sent. What is legitimately large, log probabilities and
vectors, is bounded by the request and never given to them (`answers`).
"""

from dataclasses import dataclass

from keyledger.llm.requests.parameters import Request

MIB = 1024 * 1024

STREAM_MAX = 64 * MIB
STREAM_EVENTS_MAX = 250_000
EVENT_MAX = MIB
CHAT_MAX = 4 * MIB
UNUSUAL_MAX = MIB // 8
"""Above it an answer has to be of the usual shape (`proportions`)."""
EMBEDDINGS_MAX = 64 * MIB
VECTOR_MAX = 128 * 1024
"""Bytes for each vector on average: 4,096 numbers of double precision, with room to spare."""
TOOL_CALLS_MAX = 1_000
"""In a whole answer; also the most of anything else that a message lists."""
DELTA_MAX = 128
"""The same for one event of a stream, which has one or two."""
USAGE_MAX = 200
"""Counts of tokens, with their details."""
NAME_MAX = 1024
"""Characters of a name or an id."""
DEPTH_MAX = 64


@dataclass(frozen=True, slots=True)
class JsonBounds:
    """The most objects and lists, and the most values of any kind, in one piece of JSON."""

    containers: int
    values: int


PLAIN = JsonBounds(containers=4_000, values=40_000)
WITH_LOGPROBS = JsonBounds(containers=200_000, values=1_000_000)


@dataclass(frozen=True, slots=True)
class Bounds:
    """Bounds of one answer.

    size: bytes of the answer, in a stream of all its events. items: embeddings, 0 where none were asked for. numbers:
    vectors are wanted as numbers, however they come.
    """

    size: int = CHAT_MAX
    json: JsonBounds = PLAIN
    choices: int = 1
    items: int = 0
    numbers: bool = False


def chat_bounds(request: Request) -> Bounds:
    """Return the bounds of the answer to a chat."""
    asked = {**request.parameters, **request.extras}
    with_logprobs = any(asked.get(name) for name in ("logprobs", "top_logprobs", "prompt_logprobs"))
    return Bounds(
        size=STREAM_MAX if request.streaming else CHAT_MAX,
        json=WITH_LOGPROBS if with_logprobs and not request.streaming else PLAIN,
        choices=asked.get("n", 1),
    )


def embeddings_bounds(request: Request) -> Bounds:
    """Return the bounds of the answer to a request for embeddings."""
    given = request.parameters["input"]
    several = isinstance(given, list) and not isinstance(given[0], int)
    items = len(given) if several else 1
    return Bounds(
        size=min(MIB + items * VECTOR_MAX, EMBEDDINGS_MAX),
        json=JsonBounds(PLAIN.containers + 4 * items, PLAIN.values + 8 * items),
        items=items,
        numbers=request.parameters.get("encoding_format") != "base64",
    )
