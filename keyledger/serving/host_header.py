"""The Host header of a request (RFC 9112, section 3.2)."""

import re
from collections.abc import Sequence

_HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|(?:[A-Za-z0-9._~-]|%[0-9A-Fa-f]{2})*)(?::[0-9]{0,5})?")


def host_is_clear(headers: Sequence[tuple[bytes, bytes]], version: str) -> bool:
    """Say whether a request names one valid host: exactly one header, which only HTTP/1.0 may leave out.

    headers: their names in lower case. version: such as `1.1`. An empty value is valid; characters that the syntax of
    URLs allows in a host, but no name or address has, are not.
    """
    hosts = [value for name, value in headers if name == b"host"]
    if len(hosts) != 1:
        return not hosts and version == "1.0"
    return _HOST.fullmatch(hosts[0]) is not None
