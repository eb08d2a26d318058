"""All that a call held, its keys included, is gone when it ends, without the collector of cyclic garbage."""

import gc
import socket
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import urlsplit
from uuid import UUID

import httpx

from scripts.demo.stand_in_provider import StandInProvider
from tests.support.service import ADMIN_KEY, DIRECT_MODELS, client_of, environment, served

TENANT = str(UUID(int=1, version=4))
OF_CALLS = {"BoundedHttp", "RequestResponseCycle", "Exchange", "ProviderConnection", "AnswerReader", "ResponseHandler"}
BODY = b'{"model":"gpt-4o","stream":%s,"messages":[{"role":"user","content":"hello"}]}'
NATIVE = f"/api/v1/tenants/{TENANT}/providers/openai/v1/chat/completions"
LIST = f"/api/v1/sysadmin/tenants/{TENANT}/credentials"
KEY = {"X-API-Key": ADMIN_KEY}


@contextmanager
def garbage() -> Iterator[Counter[str]]:
    """Count, at the end of the block, what of calls only the collector could free."""
    found = Counter[str]()
    gc.collect()
    gc.disable()
    try:
        yield found
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        found.update(name for one in gc.garbage if (name := type(one).__name__) in OF_CALLS)
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


def posted(url: str, stream: bytes = b"false") -> int:
    headers = {**KEY, "Content-Type": "application/json"}
    return httpx.post(url + NATIVE, content=BODY % stream, headers=headers, timeout=60, trust_env=False).status_code


def left_at_the_first_byte(url: str) -> int:
    address, body = urlsplit(url), BODY % b"true"
    head = f"POST {NATIVE} HTTP/1.1\r\nHost: here\r\nX-API-Key: {ADMIN_KEY}\r\nContent-Type: application/json\r\n"
    with socket.create_connection((address.hostname, address.port)) as connection:
        connection.sendall(head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        assert connection.recv(12) == b"HTTP/1.1 200"
    return 200


CALLS: Mapping[str, tuple[Callable[[str], int], int]] = {
    "a list": (lambda url: httpx.get(url + LIST, headers=KEY, trust_env=False).status_code, 200),
    "without a key": (lambda url: httpx.get(url + LIST, trust_env=False).status_code, 401),
    "a call": (posted, 200),
    "a stream": (lambda url: posted(url, b"true"), 200),
    "a stream whose client leaves": (left_at_the_first_byte, 200),
}
IDLE = Counter(ProviderConnection=1, ResponseHandler=1)
"""Kept for the next call until the service ends."""


def test_what_a_call_held_is_gone_with_its_connection(database_url: str) -> None:
    with StandInProvider(accepted=lambda key: True) as provider:
        settings = environment(
            AI_MODELS_FILE=DIRECT_MODELS,
            OPENAI_API_BASE=provider.url,
            ENDPOINT_ALLOWED_HOSTS=urlsplit(provider.url).netloc,
        )
        with garbage() as found, served(database_url, settings) as url:
            with client_of(url) as client:
                client.put(TENANT, "openai", api_key="sk-of-the-tenant")
            for name, (call, status) in CALLS.items():
                assert [call(url) for _ in range(5)] == [status] * 5, name
    assert found - IDLE == {}
