"""A request as it is sent: its body and headers, and what its answer has to be translated back with.

It holds no key. An adapter prepares it from a plan and a checked request; the wire sends it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request that is ready to be sent.

    headers: besides those that the wire sets. tool_names: the caller's name of each tool that was renamed, by the name
    that was sent. json_tool: the name of a tool that was added to get JSON as its input; "" if there is none.
    """

    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    tool_names: Mapping[str, str] = field(default_factory=dict)
    json_tool: str = ""


def encoded(body: Mapping[str, Any]) -> bytes:
    """Return a body as JSON in UTF-8. Text has been checked to be encodable."""
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()
