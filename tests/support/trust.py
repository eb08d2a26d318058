"""The trust store, read once for a run: making a TLS context takes 30 ms of processor time, most of a call on loopback.

A context may be shared by any number of clients, also by those of different event loops.
"""

import functools
import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from httpx._transports import default

_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR")
_make = httpx.create_ssl_context


@functools.cache
def _made(arguments: tuple[Any, ...], named: frozenset[Any], variables: tuple[str | None, ...]) -> ssl.SSLContext:
    return _make(*arguments, **dict(named))


def _shared(*arguments: Any, **named: Any) -> ssl.SSLContext:
    return _made(arguments, frozenset(named.items()), tuple(map(os.environ.get, _VARIABLES)))


@contextmanager
def read_once() -> Iterator[None]:
    """Let every client within the block that asks for the same TLS context share one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(httpx, "create_ssl_context", _shared)
        patch.setattr(default, "create_ssl_context", _shared)
        yield
