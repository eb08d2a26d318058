"""The bytes that arrived together with the head of an answer with which a connection leaves HTTP.

aiohttp has read them already, and hands them to the parser that it is given for the new protocol.
"""

from api.front.web_socket.pipe import Pipe


class EarlyBytes:
    """A parser, for aiohttp, that passes on what it is fed."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """Take bytes. Return what aiohttp expects of a parser."""
        self._pipe.arrived(data)
        return False, b""

    def feed_eof(self) -> None:
        """Note the end of the connection."""
        self._pipe.end()
