"""The relay of one WebSocket: how the end of either side reaches the other, and what ends both."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field

import pytest
from websockets.frames import Opcode
from websockets.protocol import Side

from api.front.problems import HttpError
from api.rest.calls.web_socket import IDLE_S, SocketRelay
from domain.calls.web_socket import Ending, Message
from domain.errors import AccessError, ErrorCode, ProviderUnavailableError
from tests.api.front.web_socket.ends import Ends
from tests.api.scripted import TENANT_RECEIPT
from tests.support.each import each

HELLO = Message(b"hello", True)


@dataclass
class ScriptedSocket:
    """A provider's side: its messages, then its ending; without one it waits. Errors are raised, not returned."""

    messages: list[Message | Exception] = field(default_factory=list)
    ends: Ending | None = None
    outdates: list[str | None] = field(default_factory=list)
    sent: list[Message] = field(default_factory=list)
    closed: list[tuple[int | None, str]] = field(default_factory=list)
    ending: Ending | None = None
    receipt = TENANT_RECEIPT
    headers = ()
    subprotocol = None

    async def next(self):
        if self.messages:
            message = self.messages.pop(0)
            if isinstance(message, Exception):
                raise message
            return message
        if self.ends is None:
            await asyncio.Event().wait()
        self.ending = self.ends
        return None

    async def send(self, message):
        if isinstance(message, Exception):
            raise message
        self.sent.append(message)

    async def outdated(self):
        return self.outdates.pop(0) if self.outdates else None

    def close(self, code, reason=""):
        self.closed.append((code, reason))


async def allowed(message):
    pass


@dataclass
class Relayed:
    """One relayed socket, and what its caller received."""

    provider: ScriptedSocket
    caller: Ends = field(default_factory=lambda: Ends(Side.SERVER))
    pauses: int = 0

    async def run(self, *sent, check=allowed, before=None, pauses=1000):
        async def pause(seconds):
            self.pauses += 1
            if self.pauses > pauses:
                await asyncio.Event().wait()
            await asyncio.sleep(0)

        for message in sent:
            if isinstance(message, Message):
                (self.caller.peer.send_text if message.text else self.caller.peer.send_binary)(message.data)
            else:
                message(self.caller.peer)
        self.caller.pipe.arrived(self.caller.peer_bytes())
        relay = asyncio.ensure_future(SocketRelay(self.caller.side, self.provider, check, pause).run())
        if before is not None:
            await asyncio.sleep(0)
            before(relay)
        return await relay

    def received(self):
        return [bytes(one.data) for one in self.caller.heard() if one.opcode in {Opcode.TEXT, Opcode.BINARY}]

    @property
    def closed(self):
        """The close frame that the caller received."""
        self.caller.heard()
        frame = self.caller.peer.close_rcvd
        return None if frame is None else (frame.code, frame.reason)


def relayed(provider, *sent, **how):
    one = Relayed(provider)
    return one, asyncio.run(one.run(*sent, **how))


def closing(code=None, reason=""):
    return lambda peer: peer.send_close(code, reason)


ENDINGS = {
    "with a code and a reason": (Ending(4000, "done"), (4000, "done"), None),
    "normally": (Ending(1000, ""), (1000, ""), None),
    "without a code": (Ending(None), (1005, ""), None),
    "with a code that must not be sent": (Ending(1006, "lost"), (1005, ""), None),
    "without a close frame": (Ending(broken="connection-lost"), (1014, "provider-unavailable"), "provider-unavailable"),
    "by breaking the protocol": (
        Ending(broken="protocol-broken"),
        (1014, "provider-unavailable"),
        "provider-unavailable",
    ),
}


@each("ending, seen, code", list(ENDINGS.values()), ids=list(ENDINGS))
def test_the_end_of_the_provider_s_side_reaches_the_caller_after_its_messages(ending, seen, code):
    one, ended = relayed(ScriptedSocket([HELLO], ending))
    assert one.caller.heard()[0].data == b"hello"
    assert (one.closed, ended) == (seen, code)
    assert len(one.provider.closed) == 1


@each("how, seen", [(closing(4001, "bye"), (4001, "bye")), (closing(), (None, ""))])
def test_the_end_of_the_caller_s_side_reaches_the_provider_after_its_messages(how, seen):
    one, ended = relayed(ScriptedSocket(), HELLO, how)
    assert (one.provider.sent, one.provider.closed, ended) == ([HELLO], [seen], None)


def test_a_caller_that_leaves_ends_the_provider_s_side():
    provider = ScriptedSocket()
    left = Relayed(provider)

    async def leave():
        left.caller.pipe.end()
        return await left.run()

    assert asyncio.run(leave()) is None
    assert provider.closed == [(1001, "")]


ERRORS = {
    "a message that the caller may not send": (
        AccessError(ErrorCode.OUTSIDE_SCOPE, "no"),
        (1008, "outside-scope"),
    ),
    "no room for its bytes": (HttpError("limit-reached", "no"), (1013, "limit-reached")),
    "a message that is not JSON": (HttpError("malformed-json", "no"), (1008, "malformed-json")),
}


@each("error, seen", list(ERRORS.values()), ids=list(ERRORS))
def test_an_error_of_a_message_ends_both_sides_and_the_message_is_not_sent(error, seen):
    async def refuse(message):
        raise error

    one, ended = relayed(ScriptedSocket(), HELLO, check=refuse)
    assert (one.closed, ended, one.provider.sent) == (seen, seen[1], [])
    assert one.provider.closed == [(1001, "")]


def test_a_provider_that_takes_nothing_ends_both_sides():
    one, ended = relayed(ScriptedSocket([ProviderUnavailableError("openai", "late")]))
    assert one.closed == (1014, ended)
    assert ended == "provider-timeout"


def test_a_socket_whose_credential_was_replaced_ends_at_the_next_look():
    one, ended = relayed(ScriptedSocket(outdates=[None, None, "credential-replaced"]))
    assert (one.closed, ended, one.pauses) == ((1008, "credential-replaced"), "credential-replaced", 3)


def test_a_socket_without_a_message_ends_after_its_time_and_each_message_begins_the_time_again():
    quiet, ended = relayed(ScriptedSocket())
    assert (quiet.closed, ended, quiet.pauses) == ((1001, "idle"), None, IDLE_S / 2)

    class Talks(ScriptedSocket):
        async def outdated(self):
            if talks.pauses == 100:
                talks.caller.peer.send_text(b"still here")
                talks.caller.pipe.arrived(talks.caller.peer_bytes())

    talks = Relayed(Talks())
    asyncio.run(talks.run())
    assert talks.pauses >= IDLE_S / 2 + 100


def test_a_service_that_stops_says_so_and_an_unexpected_error_says_nothing():
    stopped = Relayed(ScriptedSocket())

    async def stop():
        with suppress(asyncio.CancelledError):
            await stopped.run(before=lambda relay: relay.cancel(), pauses=0)

    asyncio.run(stop())
    assert stopped.closed == (1001, "shutting-down")
    assert stopped.provider.closed == [(1001, "")]

    broken = Relayed(ScriptedSocket([ZeroDivisionError()]))
    with pytest.raises(ZeroDivisionError):
        asyncio.run(broken.run())
    assert broken.closed == (1011, "")
    assert broken.provider.closed == [(1001, "")]
