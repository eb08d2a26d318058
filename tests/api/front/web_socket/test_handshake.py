"""The handshake: what is accepted, what is passed on, and where a browser's key is read."""

import pytest

from api.front.problems import HttpError
from api.front.web_socket.handshake import (
    UPGRADE,
    accepted,
    asks_for_web_socket,
    keys_in_subprotocols,
    subprotocols,
)
from tests.support.each import each

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
GOOD = {
    b"connection": b"keep-alive, Upgrade",
    b"upgrade": b"websocket",
    b"sec-websocket-key": KEY,
    b"sec-websocket-version": b"13",
    b"sec-websocket-extensions": b"permessage-deflate; client_max_window_bits",
}


class Server:
    """A server's part. clean: nothing followed the request."""

    def __init__(self, *, clean=True):
        self.clean = clean

    def is_clean(self):
        return self.clean


def scope(changed=(), *, extra=(), method="GET", version="1.1", server: object = None):
    headers = [*({**GOOD, **dict(changed)}).items(), *extra]
    return {
        "type": "http",
        "method": method,
        "http_version": version,
        "path": "/",
        "headers": [(name, value) for name, value in headers if value is not None],
        "extensions": {} if server is False else {UPGRADE: server or Server()},
    }


def test_a_handshake_is_accepted_and_compression_is_not():
    _, headers = accepted(scope())
    assert dict(headers) == {
        b"upgrade": b"websocket",
        b"connection": b"Upgrade",
        b"sec-websocket-accept": b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",  # of RFC 6455, section 1.3
    }


REFUSED = {
    "another server": {"server": False},
    "something behind the request": {"server": Server(clean=False)},
    "no key": {"changed": {b"sec-websocket-key": None}},
    "two keys": {"extra": [(b"sec-websocket-key", KEY)]},
    "a short key": {"changed": {b"sec-websocket-key": b"c2hvcnQ="}},
    "a key that is not base64": {"changed": {b"sec-websocket-key": b"!" * 24}},
    "no version": {"changed": {b"sec-websocket-version": None}},
    "an old version": {"changed": {b"sec-websocket-version": b"8"}},
    "two versions": {"extra": [(b"sec-websocket-version", b"13")]},
    "no connection header": {"changed": {b"connection": None}},
    "a connection that closes": {"changed": {b"connection": b"close"}},
    "another upgrade as well": {"changed": {b"upgrade": b"h2c, websocket"}},
    "the upgrade twice": {"extra": [(b"upgrade", b"websocket")]},
    "HTTP/1.0": {"version": "1.0"},
    "POST": {"method": "POST"},
}


@each("how", list(REFUSED.values()), ids=list(REFUSED))
def test_every_other_handshake_is_refused_in_our_own_words(how):
    with pytest.raises(HttpError) as refused:
        accepted(scope(**how))
    assert refused.value.code == "upgrade-refused"
    assert "nonce" not in refused.value.detail


OFFERED = [(b"sec-websocket-protocol", b"realtime, openai-insecure-api-key.sk-1,openai-beta.realtime-v1")]
MORE = [
    (b"sec-websocket-protocol", b"OpenAI-Insecure-API-Key.sk-2, openai-organization.org-1, openai-project.p, other")
]


def test_keys_are_read_from_subprotocols_and_neither_they_nor_names_of_accounts_are_passed_on():
    assert keys_in_subprotocols([*OFFERED, *MORE]) == {"sk-1", "sk-2"}
    assert subprotocols([*OFFERED, *MORE]) == ["realtime", "openai-beta.realtime-v1"]
    assert keys_in_subprotocols([]) == set()


def test_only_an_upgrade_to_a_web_socket_asks_for_one():
    assert asks_for_web_socket([(b"upgrade", b"WebSocket")])
    assert not asks_for_web_socket([(b"upgrade", b"h2c"), (b"connection", b"websocket")])
