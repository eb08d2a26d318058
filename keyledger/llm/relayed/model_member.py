"""Reads and replaces the model in the text of a JSON body, and leaves every other byte as it is.

Promises: numbers keep their digits, and members their order and spelling.
"""

import json
import re

_SPACE = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()


def with_model(text: bytes, name: str) -> bytes:
    """Return a body with another model. text: a JSON object with the member `model` once, read strictly before."""
    given = text.decode()
    start, end = _place_of_model(given)
    return f"{given[:start]}{json.dumps(name)}{given[end:]}".encode()


def _place_of_model(text: str) -> tuple[int, int]:
    """Return where the value of the object's member `model` begins and ends."""
    at = _after_space(text, text.index("{") + 1)
    while True:
        name, at = _DECODER.raw_decode(text, at)
        start = _after_space(text, text.index(":", at) + 1)
        _, end = _DECODER.raw_decode(text, start)
        if name == "model":
            return start, end
        at = _after_space(text, text.index(",", end) + 1)


def _after_space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    assert found is not None  # noqa: S101  it matches nothing, too
    return found.end()
