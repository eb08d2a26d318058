"""Limits on the size and complexity of a provider's response, in proportion to the request.

A tenant's endpoint can respond with anything, and it is read on the event loop that serves all tenants. These limits
keep that to milliseconds. Legitimately large values, log probabilities and vectors, are bounded by the request.
"""

from dataclasses import dataclass

from keyledger.llm.requests.parameters import Request

MIB = 1024 * 1024

STREAM_MAX = 64 * MIB
STREAM_EVENTS_MAX = 250_000
EVENT_MAX = MIB
CHAT_MAX = 4 * MIB
EMBEDDINGS_MAX = 64 * MIB
VECTOR_MAX = 128 * 1024
"""Average bytes per vector: 4,096 double-precision numbers, with room to spare."""
TOOL_CALLS_MAX = 1_000
"""In a complete response; also the limit of every other list in a message."""
DELTA_MAX = 128
"""The same limit for one event of a stream, which usually lists one or two."""
USAGE_MAX = 200
"""Values in the token counts and their details."""
NAME_MAX = 1024
"""Characters in a name or an id."""
DEPTH_MAX = 64


@dataclass(frozen=True, slots=True)
class JsonBounds:
    """The limits of a JSON document. containers: objects and arrays. values: values of any kind."""

    containers: int
    values: int


PLAIN = JsonBounds(containers=4_000, values=40_000)
WITH_LOGPROBS = JsonBounds(containers=200_000, values=1_000_000)


@dataclass(frozen=True, slots=True)
class Bounds:
    """The limits of one response.

    size: bytes, of all events in a stream. json: of its JSON. choices: the most choices. items: the most embeddings, 0
    for a chat. numbers: vectors are returned as numbers, even if they arrive in base64.
    """

    size: int = CHAT_MAX
    json: JsonBounds = PLAIN
    choices: int = 1
    items: int = 0
    numbers: bool = False


def chat_bounds(request: Request) -> Bounds:
    """Return the limits of the response to a chat request."""
    asked = {**request.parameters, **request.extras}
    with_logprobs = any(asked.get(name) for name in ("logprobs", "top_logprobs", "prompt_logprobs"))
    return Bounds(
        size=STREAM_MAX if request.streaming else CHAT_MAX,
        json=WITH_LOGPROBS if with_logprobs and not request.streaming else PLAIN,
        choices=asked.get("n", 1),
    )


def embeddings_bounds(request: Request) -> Bounds:
    """Return the limits of the response to an embeddings request."""
    given = request.parameters["input"]
    several = isinstance(given, list) and not isinstance(given[0], int)
    items = len(given) if several else 1
    return Bounds(
        size=min(MIB + items * VECTOR_MAX, EMBEDDINGS_MAX),
        json=JsonBounds(PLAIN.containers + 4 * items, PLAIN.values + 8 * items),
        items=items,
        numbers=request.parameters.get("encoding_format") != "base64",
    )
