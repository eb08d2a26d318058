"""WebSockets of providers: the key goes out once and never comes back, whatever the provider sends."""

import asyncio
import base64
import gzip
import struct
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from types import SimpleNamespace

import pytest
from websockets.datastructures import Headers
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.utils import accept_key

from api.front.problems import HttpError
from domain.calls.native import NativeAnswer, NativeCall
from domain.calls.native_rules import NativeRules, OpenedRoute
from domain.calls.web_socket import Ending, Message, Offer
from domain.credentials.built_in_providers import BUILT_IN
from domain.credentials.credential import Credential
from domain.credentials.providers import CredentialConfig
from domain.endpoints.rules import EndpointRules
from domain.errors import (
    AccessError,
    ErrorCode,
    InvalidRequestError,
    ProviderUnavailableError,
    RejectedCredentialError,
    StoreUnavailableError,
    UnresolvableError,
)
from keyledger.llm import CallConfiguration, PassThrough, Timeouts
from keyledger.llm.native import opened_socket
from keyledger.llm.native.opened_socket import OpenedSocket
from tests.keyledger.llm.native.global_rig import GlobalKeys, catalogue
from tests.keyledger.llm.rig import KEY, TENANT, Keys
from tests.support.each import each
from tests.support.errors import raises
from tests.support.loopback import serving
from tests.support.meter import ListeningMeter
from tests.support.scenario import NOW
from tests.support.socket_provider import socket_provider


@pytest.fixture(scope="module")
def provider():
    with socket_provider() as running:
        yield running


@pytest.fixture(autouse=True)
def quiet(provider):
    provider.forget()


@dataclass
class Rig:
    """Opens sockets in one event loop."""

    keys: Keys
    opened: tuple[str, ...] = ()

    def __post_init__(self):
        self.meter = ListeningMeter()

    def run(self, use, provider="openai", path="v1/realtime", query="model=m", offer=None, headers=(), admission=None):
        async def opened():
            rules = NativeRules(tuple(OpenedRoute.read(one, BUILT_IN) for one in self.opened))
            configuration = CallConfiguration(catalogue(), self.keys, EndpointRules(), rules)
            apis = PassThrough(lambda: configuration, Timeouts(connect=5, answer=10), meter=self.meter)
            try:
                call = NativeCall(TENANT, provider, "GET", path, query, headers, admission=admission)
                return await use(await apis.connect(call, offer or Offer()))
            finally:
                await apis.stop()

        return asyncio.run(opened())


async def returned(opened):
    return opened


async def closed(opened):
    opened.close(1000)
    return opened


def all_of(rig, **how):
    """Every message until the end, and how it ended."""

    async def use(opened):
        messages = []
        try:
            while (message := await opened.next()) is not None:
                messages.append(message)
        finally:
            opened.close(None)
        return messages, opened.ending

    return rig.run(use, **how)


def saying(*messages, code=1000, reason=""):
    async def talk(connection):
        for message in messages:
            await connection.send(message)
        await connection.close(code, reason)

    return talk


def test_the_handshake_has_the_key_and_no_other_of_the_caller_s_credentials(provider):
    sent = [(b"authorization", b"Bearer service"), (b"sec-websocket-key", b"theirs"), (b"origin", b"https://evil")]
    sent += [
        (b"openai-beta", b"realtime=v1"),
        (b"cookie", b"a=b"),
        (b"sec-websocket-extensions", b"permessage-deflate"),
    ]
    Rig(Keys(provider.url)).run(closed, offer=Offer(["realtime"]), headers=sent)
    (opened,) = provider.opened
    assert opened.target == "/openai/v1/realtime?model=m"
    assert opened.headers["authorization"] == f"Bearer {KEY}"
    assert opened.headers["openai-beta"] == "realtime=v1"
    assert opened.headers["sec-websocket-protocol"] == "realtime"
    assert opened.headers["sec-websocket-key"] != "theirs"
    assert not {"origin", "cookie", "sec-websocket-extensions"} & opened.headers.keys()


@dataclass
class AzureKeys(Keys):
    """Resolves to a deployment of Azure. version: of the API."""

    version: str = "2024-10-21"

    async def explain(self, tenant_id, provider, *, tenant_capable):
        route = await super().explain(tenant_id, provider, tenant_capable=tenant_capable)
        return replace(route, api_version=self.version, deployment_name="own-dep")


TARGETS = [
    (
        "2024-10-21",
        "api-version=2020&deployment=theirs&model=theirs&x=1",
        "/azure/openai/realtime?api-version=2024-10-21&deployment=own-dep&x=1",
    ),
    ("2024-10-21", "", "/azure/openai/realtime?api-version=2024-10-21&deployment=own-dep"),
    ("v1", "model=other-dep", "/azure/openai/v1/realtime?model=other-dep"),
    ("v1", "api-version=2020", "/azure/openai/v1/realtime?model=own-dep"),
]


@pytest.mark.parametrize("path", ["realtime", "openai/realtime", "openai/v1/realtime"])
def test_azure_is_called_at_its_own_address_with_the_deployment_of_the_credential(provider, path):
    for version, query, target in TARGETS:
        provider.forget()
        Rig(AzureKeys(provider.url, version=version)).run(closed, "azure", path, query)
        assert [one.target for one in provider.opened] == [target]


@pytest.mark.parametrize("name, path", [("xai", "v1/realtime"), ("vllm", "realtime"), ("openai", "v1/realtime/x")])
def test_other_rows_and_what_is_below_the_route_are_web_sockets_too(provider, name, path):
    Rig(Keys(provider.url)).run(closed, name, path)
    assert provider.opened[0].headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("name, path", [("anthropic", "v1/realtime"), ("openai", "v1/chat/completions"), ("xai", "v1")])
def test_a_route_that_is_no_web_socket_is_refused_before_anything_is_sent(provider, name, path):
    with pytest.raises(HttpError) as refused:
        Rig(Keys(provider.url)).run(returned, name, path)
    assert refused.value.code == "upgrade-refused"
    assert provider.opened == []


def test_a_key_with_a_budget_opens_no_web_socket(provider):
    with pytest.raises(AccessError) as refused:
        Rig(Keys(provider.url)).run(returned, admission=SimpleNamespace(digest="d", is_budgeted=True))
    assert (refused.value.code, "budget" in refused.value.detail) == ("outside-scope", True)
    assert provider.opened == []


JWT_PART = base64.b64encode(f"user:{KEY}".encode()).decode()
ECHOED = {
    "plain": (f"key {KEY}!", "key [redacted]!"),
    "in upper case": (KEY.upper(), "[redacted]"),
    "escaped as in JSON": (f'{{"k": "\\u00{ord(KEY[0]):02x}{KEY[1:]}"}}', '{"k": "[redacted]"}'),
    "escaped as in URLs": (f"%{ord(KEY[0]):02X}{KEY[1:]}", "[redacted]"),
    "as bytes": (b"\x00\xff" + KEY.encode() + b"\xfe", b"\x00\xff[redacted]\xfe"),
    "in two fragments": (["x" + KEY[:7], KEY[7:] + "y"], "x[redacted]y"),
    "in many fragments": (list(KEY), "[redacted]"),
    "far behind": ("x" * 200_000 + KEY, "x" * 200_000 + "[redacted]"),
    "across two steps of the search": ("x" * (36 * 1024 - 5) + KEY, "x" * (36 * 1024 - 5) + "[redacted]"),
}


@pytest.mark.parametrize("echoed, seen", ECHOED.values(), ids=list(ECHOED))
def test_the_key_is_removed_from_each_message_in_any_form(provider, echoed, seen):
    provider.talk = saying(echoed, "after")
    messages, ending = all_of(Rig(Keys(provider.url)))
    assert messages[0] == Message(seen.encode() if isinstance(seen, str) else seen, isinstance(seen, str))
    assert messages[1:] == [Message(b"after", True)]
    assert ending == Ending(1000, "")


def test_the_key_in_base64_and_in_gzip_is_removed_too(provider):
    provider.talk = saying(f"Basic {JWT_PART}", gzip.compress(f"the key is {KEY}".encode()))
    (text, packed), _ = all_of(Rig(Keys(provider.url)))
    assert KEY not in str(base64.b64decode(text.data.removeprefix(b"Basic ") + b"==="))
    assert KEY.encode() not in packed.data
    with suppress(OSError, EOFError):  # it may no longer be gzip
        assert KEY.encode() not in gzip.decompress(packed.data)


def test_a_key_that_the_provider_spreads_over_two_messages_is_not_found(provider):
    """Each message is a value of its own: nothing says that two of them are one text."""
    provider.talk = saying(KEY[:7], KEY[7:])
    messages, _ = all_of(Rig(Keys(provider.url)))
    assert [message.data.decode() for message in messages] == [KEY[:7], KEY[7:]]


def test_a_close_reason_with_the_key_is_dropped_and_others_pass(provider):
    provider.talk = saying(code=4000, reason="bad key")
    assert all_of(Rig(Keys(provider.url)))[1] == Ending(4000, "bad key")
    provider.talk = saying(code=4000, reason=f"bad {KEY}")
    assert all_of(Rig(Keys(provider.url)))[1] == Ending(4000, "")


def refusing(status, body=b"{}", **headers):
    def answer(connection, request):
        fields = Headers({"content-length": str(len(body)), "content-type": "application/json", **headers})
        return Response(status, "", fields, body)

    return answer


def test_a_refused_key_is_the_credential_s_state_and_counts_as_such(provider):
    provider.answer = refusing(401, f"Incorrect API key provided: {KEY}".encode())
    rig = Rig(Keys(provider.url))
    with pytest.raises(RejectedCredentialError) as refused:
        rig.run(returned)
    assert KEY not in str(refused.value)
    assert [(one.failed, one.rejected) for one in rig.meter.told] == [(True, True)]


@pytest.mark.parametrize("status", [400, 403, 404, 429, 500, 503])
def test_another_refusal_is_the_provider_s_own_answer_without_the_key(provider, status):
    provider.answer = refusing(status, f'{{"error": "no {KEY}"}}'.encode(), **{"retry-after": "7"})
    answer = Rig(Keys(provider.url)).run(returned)
    assert isinstance(answer, NativeAnswer)
    assert (answer.status, answer.whole) == (status, b'{"error": "no [redacted]"}')
    assert (b"retry-after", b"7") in answer.headers


@pytest.mark.parametrize("status", [200, 204, 302])
def test_an_answer_that_opens_nothing_is_no_answer(provider, status):
    provider.answer = refusing(status, b"", location="http://127.0.0.1/")
    with raises(ErrorCode.PROVIDER_UNAVAILABLE):
        Rig(Keys(provider.url)).run(returned)


def test_the_platform_s_key_opens_none_unless_the_operator_opens_the_route(provider):
    with pytest.raises(InvalidRequestError) as refused:
        Rig(GlobalKeys(provider.url)).run(returned)
    assert refused.value.code == ErrorCode.GLOBAL_KEY_NOT_ALLOWED
    assert provider.opened == []
    Rig(GlobalKeys(provider.url), ("openai:GET:v1/realtime",)).run(closed)
    assert len(provider.opened) == 1


def test_a_socket_counts_once_when_it_is_closed_and_as_failed_if_the_provider_broke_off(provider):
    rig = Rig(Keys(provider.url))
    provider.talk = saying("hello")
    all_of(rig)
    assert [(one.version, one.failed, one.rejected) for one in rig.meter.told] == [(3, False, False)]
    assert [one.tokens for one in rig.meter.spent] == [None]

    async def aborts(connection):
        connection.transport.abort()

    provider.talk = aborts
    assert all_of(rig)[1] == Ending(broken="connection-lost")
    assert [one.failed for one in rig.meter.told] == [False, True]


def test_an_error_for_the_bytes_that_are_held_reaches_the_reader(provider):
    def full(size):
        if size > 100_000:
            raise HttpError("limit-reached", "full")

    provider.talk = saying(b"x" * 200_000)
    with pytest.raises(HttpError):
        all_of(Rig(Keys(provider.url)), offer=Offer(held=full))


def test_a_provider_that_takes_nothing_ends_the_socket(provider, monkeypatch):
    monkeypatch.setattr(opened_socket, "STALLED_S", 0.05)

    async def never_reads(connection):
        connection.transport.pause_reading()
        await connection.wait_closed()

    provider.talk = never_reads

    async def fill(opened):
        with pytest.raises(ProviderUnavailableError):
            while True:
                await opened.send(Message(b"x" * 1_000_000, False))
        opened.close(1001)

    rig = Rig(Keys(provider.url))
    rig.run(fill)
    assert [one.failed for one in rig.meter.told] == [True]


@dataclass
class ChangingKeys(Keys):
    """A resolver whose credential changes."""

    set_at: datetime = NOW
    version: int = 3
    error: Exception | None = None

    async def explain(self, tenant_id, provider, *, tenant_capable):
        if self.error is not None:
            raise self.error
        route = await super().explain(tenant_id, provider, tenant_capable=tenant_capable)
        one = Credential(tenant_id, provider, self.version, None, "...1", CredentialConfig(), self.set_at)
        return replace(route, credential=one, receipt=replace(route.receipt, version=self.version))


LATER = NOW.replace(year=NOW.year + 1)
CHANGES = {
    "nothing": ({}, None),
    "it is re-encrypted": ({"version": 4}, None),
    "it is set again": ({"version": 4, "set_at": LATER}, "credential-replaced"),
    "it is deleted, and the tenant has no other": ({"keys": {}}, "no-credential"),
    "it moves to another address": ({"url": "http://127.0.0.1:1"}, "credential-replaced"),
    "the tenant is frozen, which is looked at elsewhere": (
        {"error": UnresolvableError(ErrorCode.TENANT_FROZEN, "frozen")},
        None,
    ),
    "the tenant's policy excludes the provider": (
        {"error": UnresolvableError(ErrorCode.OUTSIDE_POLICY, "no")},
        "outside-policy",
    ),
    "the database does not answer": ({"error": StoreUnavailableError()}, None),
}


@each("change, code", list(CHANGES.values()), ids=list(CHANGES))
def test_a_socket_is_outdated_once_another_credential_or_none_would_serve_it(provider, change, code):
    keys = ChangingKeys(provider.url)

    async def use(opened):
        assert await opened.outdated() is None
        for name, value in change.items():
            setattr(keys, name, value)
        found = await opened.outdated()
        opened.close(1000)
        return found

    assert Rig(keys).run(use) == code


def raw(*frames, head=b"", early=True):
    """A provider that opens every WebSocket and sends these bytes. early: together with its answer."""

    async def serve(reader, writer):
        request = await reader.readuntil(b"\r\n\r\n")
        key = next(line for line in request.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key:"))
        accept = accept_key(key.partition(b":")[2].strip().decode())
        answer = b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
        answer += accept.encode() + b"\r\n" + head + b"\r\n"
        if early:
            writer.write(answer + b"".join(frames))
        else:
            writer.write(answer)
            for frame in frames:
                await writer.drain()
                writer.write(frame)
        await writer.drain()
        await reader.read()
        writer.close()

    return serve


async def from_raw(serve, **how):
    meter = ListeningMeter()
    async with serving(serve) as port:
        keys = Keys(f"http://127.0.0.1:{port}")
        configuration = CallConfiguration(catalogue(), keys, EndpointRules())
        apis = PassThrough(lambda: configuration, Timeouts(connect=5, answer=10), meter=meter)
        try:
            opened = await apis.connect(NativeCall(TENANT, "openai", "GET", "v1/realtime"), Offer(["realtime"]))
            assert isinstance(opened, OpenedSocket)
            messages = []
            while (message := await opened.next()) is not None:
                messages.append(message)
            opened.close(None)
            return messages, opened.ending
        finally:
            await apis.stop()


def frame(opcode, data, **how):
    return Frame(opcode, data).serialize(mask=how.pop("mask", False), **how)


CLOSE = frame(Opcode.CLOSE, struct.pack("!H", 1000))
HELLO = frame(Opcode.TEXT, b"hello")
HOSTILE = {
    "masked frames": (HELLO + frame(Opcode.TEXT, b"x", mask=True), "protocol-broken"),
    "a compressed frame": (HELLO + b"\xc1" + frame(Opcode.TEXT, b"x")[1:], "protocol-broken"),
    "a text that is not UTF-8": (HELLO + frame(Opcode.TEXT, b"\xff"), "text-not-utf-8"),
    "a message of an exabyte": (HELLO + b"\x82\x7f" + struct.pack("!Q", 2**60), "message-too-large"),
    "HTTP": (HELLO + b"HTTP/1.1 200 OK\r\n\r\n" + b" " * 99, "protocol-broken"),
}


@pytest.mark.parametrize("early", [True, False], ids=["with the answer", "after it"])
@pytest.mark.parametrize("sent, broken", HOSTILE.values(), ids=list(HOSTILE))
def test_a_provider_that_breaks_the_protocol_ends_the_socket_after_its_good_messages(sent, broken, early):
    messages, ending = asyncio.run(from_raw(raw(sent, early=early)))
    assert messages == [Message(b"hello", True)]
    assert ending == Ending(broken=broken)


def test_frames_that_come_with_the_answer_are_not_lost():
    many = [frame(Opcode.TEXT, b"%d" % number) for number in range(5000)]
    messages, ending = asyncio.run(from_raw(raw(*many, CLOSE)))
    assert [int(message.data) for message in messages] == list(range(5000))
    assert ending == Ending(1000, "")


HEADS = {
    "compression": b"Sec-WebSocket-Extensions: permessage-deflate\r\n",
    "a subprotocol that was not offered": b"Sec-WebSocket-Protocol: other\r\n",
    "two subprotocols": b"Sec-WebSocket-Protocol: realtime, realtime\r\n",
    "a second accept": b"Sec-WebSocket-Accept: dGhlIHNhbXBsZSBub25jZQ==\r\n",
    "two upgrades": b"Upgrade: h2c\r\n",
}


@pytest.mark.parametrize("head", HEADS.values(), ids=list(HEADS))
def test_an_answer_that_agrees_on_what_was_not_offered_opens_nothing(head):
    with raises(ErrorCode.PROVIDER_UNAVAILABLE):
        asyncio.run(from_raw(raw(HELLO, head=head)))
