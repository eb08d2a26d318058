"""The ways a stand-in provider can fail on request, and how they damage a stream."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from scripts.demo.received_request import Received, error_body

_SPOILT_EVENT = 3


class Failure(StrEnum):
    """Ways to fail. HANG never answers, RESET closes the connection at once, CUT closes it in mid-stream."""

    STATUS = "status"
    REDIRECT = "redirect"
    HANG = "hang"
    RESET = "reset"
    NOT_JSON = "not-json"
    MID_STREAM_ERROR = "mid-stream-error"
    CUT = "cut"
    ECHO = "echo"


@dataclass(frozen=True, slots=True)
class Misbehaviour:
    """How the next requests fail. `status` and `retry_after` belong to STATUS, `location` to REDIRECT.

    MID_STREAM_ERROR, ECHO and every STATUS repeat the caller's key. ECHO does so in a header and in the body of an
    otherwise correct response; in a stream, each key is split between two pieces.
    """

    error: Failure
    status: int = 500
    retry_after: str | None = None
    location: str = ""


def spoilt(request: Received, wrong: Misbehaviour | None, events: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the events of a stream, damaged as `wrong` says."""
    key = (request.key or "").encode()
    for number, event in enumerate(events):
        if number == _SPOILT_EVENT and wrong is not None and wrong.error is Failure.CUT:
            return
        if number == _SPOILT_EVENT and wrong is not None and wrong.error is Failure.MID_STREAM_ERROR:
            name = b"event: error\n" if request.path.endswith("/messages") else b""
            yield name + b"data: " + error_body(key.decode()) + b"\n\n"
            return
        at = event.find(key) if wrong is not None and key else -1
        if at >= 0:
            yield event[: at + 7]
            yield event[at + 7 :]
        else:
            yield event
