"""Messages out of frames: whole however they are cut, bounded, and ended by whatever breaks the protocol."""

import asyncio
import itertools
import logging
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.protocol import CLOSED, CLOSING, Side

from api.front.web_socket import side as side_module
from api.front.web_socket.pipe import AHEAD
from domain.calls.web_socket import Ending, Message
from tests.api.front.web_socket.ends import Ends, run
from tests.support.each import each

ROLES = [pytest.param(Side.SERVER, id="a caller's"), pytest.param(Side.CLIENT, id="a provider's")]


def frame(role, opcode, data, *, fin=True):
    """A frame as the peer of a side sends it."""
    return Frame(opcode, data, fin).serialize(mask=role is Side.SERVER)


messages = st.lists(
    st.one_of(
        st.text(max_size=40).map(lambda text: Message(text.encode(), True)),
        st.binary(max_size=40).map(lambda data: Message(data, False)),
    ),
    max_size=6,
)


@given(st.sampled_from([Side.SERVER, Side.CLIENT]), messages, st.data())
def test_messages_arrive_whole_and_in_order_however_they_are_fragmented_and_cut(role, sent, data):
    ends, stream = Ends(role), b""
    for message in sent:
        cuts = sorted(data.draw(st.lists(st.integers(0, len(message.data)), max_size=3)))
        parts = [message.data[a:b] for a, b in itertools.pairwise([0, *cuts, len(message.data)])]
        for at, part in enumerate(parts):
            opcode = (Opcode.TEXT if message.text else Opcode.BINARY) if at == 0 else Opcode.CONT
            stream += frame(role, opcode, part, fin=at == len(parts) - 1)
            if data.draw(st.booleans()):
                stream += frame(role, Opcode.PING, b"between")
    stream += frame(role, Opcode.CLOSE, struct.pack("!H", 4000) + b"done")
    cut = data.draw(st.integers(0, len(stream)))
    assert run(ends, stream[:cut], stream[cut:]) == sent
    assert ends.side.ending == Ending(4000, "done")


@each("role", ROLES)
def test_a_ping_is_answered_and_not_passed_on(role):
    ends = Ends(role)
    assert run(ends, frame(role, Opcode.PING, b"x"), frame(role, Opcode.TEXT, b"hello")) == [Message(b"hello", True)]
    assert [(one.opcode, bytes(one.data)) for one in ends.heard()][:1] == [(Opcode.PONG, b"x")]


BROKEN = {
    "a text that is not UTF-8": (1007, lambda role: frame(role, Opcode.TEXT, b"\xff\xfe")),
    "half of a surrogate pair": (1007, lambda role: frame(role, Opcode.TEXT, b"\xed\xa0\x80")),
    "a text whose fragments end within a character": (1007, lambda role: frame(role, Opcode.TEXT, b"ab\xc3")),
    "a frame that says it is compressed": (1002, lambda role: b"\xc1" + frame(role, Opcode.TEXT, b"x")[1:]),
    "a frame with another reserved bit": (1002, lambda role: b"\x91" + frame(role, Opcode.TEXT, b"x")[1:]),
    "a continuation of nothing": (1002, lambda role: frame(role, Opcode.CONT, b"x")),
    "a message within another": (
        1002,
        lambda role: frame(role, Opcode.TEXT, b"a", fin=False) + frame(role, Opcode.TEXT, b"b"),
    ),
    "a close frame within a message": (
        1002,
        lambda role: frame(role, Opcode.TEXT, b"a", fin=False) + frame(role, Opcode.CLOSE, b""),
    ),
    "an opcode that does not exist": (1002, lambda role: b"\x83" + frame(role, Opcode.TEXT, b"x")[1:]),
    "a fragmented ping": (1002, lambda role: b"\x09" + frame(role, Opcode.PING, b"x")[1:]),
    "a ping of 126 bytes": (1002, lambda role: b"\x89" + frame(role, Opcode.TEXT, b"x" * 126)[1:]),
    "a close code that must not be sent": (1002, lambda role: frame(role, Opcode.CLOSE, struct.pack("!H", 1005))),
    "a masking that the role must not have": (
        1002,
        lambda role: frame(Side.CLIENT if role is Side.SERVER else Side.SERVER, Opcode.TEXT, b"x"),
    ),
    "a message that is too large, announced": (
        1009,
        lambda role: b"\x81" + bytes([127 | (0x80 if role is Side.SERVER else 0)]) + struct.pack("!Q", 2**40) + b"mask",
    ),
}


@each("role", ROLES)
@each("code, sent", list(BROKEN.values()), ids=list(BROKEN))
def test_what_breaks_the_protocol_ends_the_side_with_its_code(role, code, sent):
    ends = Ends(role)
    good = frame(role, Opcode.TEXT, b"before")
    assert run(ends, good + sent(role) + frame(role, Opcode.TEXT, b"after")) == [Message(b"before", True)]
    assert ends.side.ending is not None
    assert ends.side.ending.broken in {"protocol-broken", "message-too-large", "text-not-utf-8"}
    ends.heard()
    assert ends.peer.close_rcvd is not None
    assert ends.peer.close_rcvd.code == code


def test_fragments_are_too_large_together(monkeypatch):
    monkeypatch.setattr(side_module, "MESSAGE_MAX", 1000)
    for role in (Side.SERVER, Side.CLIENT):
        ends = Ends(role)
        parts = [frame(role, Opcode.BINARY, b"x" * 400, fin=False), frame(role, Opcode.CONT, b"x" * 400, fin=False)]
        assert run(ends, *parts, frame(role, Opcode.CONT, b"x" * 400)) == []
        assert ends.side.ending == Ending(broken="message-too-large")


@each("role", ROLES)
def test_a_connection_that_ends_without_a_close_frame_is_broken(role):
    ends = Ends(role)
    assert run(ends, frame(role, Opcode.TEXT, b"a"), frame(role, Opcode.TEXT, b"b")[:-1]) == [Message(b"a", True)]
    assert ends.side.ending == Ending(broken="connection-lost")


@each("role", ROLES)
def test_a_close_frame_without_a_code_has_none(role):
    ends = Ends(role)
    run(ends, frame(role, Opcode.CLOSE, b""))
    assert ends.side.ending == Ending(None)
    assert ends.peer.state in {CLOSED, CLOSING} or ends.heard()


@each("role", ROLES)
def test_bytes_are_counted_while_they_are_held(role):
    ends = Ends(role)

    async def converse():
        for part in (frame(role, Opcode.BINARY, b"x" * 5000, fin=False), frame(role, Opcode.CONT, b"x" * 5000)):
            ends.pipe.arrived(part)
        message = await ends.side.next()
        assert 9_900 < max(ends.held) < 10_100
        ends.pipe.arrived(frame(role, Opcode.TEXT, b"short"))
        await ends.side.next()
        return message

    assert asyncio.run(converse()) == Message(b"x" * 10_000, False)
    assert ends.held[-1] < 100


@each("role", ROLES)
def test_what_is_sent_arrives_and_nothing_is_sent_after_the_end(role):
    ends = Ends(role)

    async def converse():
        await ends.side.send(Message(b"text", True))
        await ends.side.send(Message(b"\xff", False))
        ends.side.close(4001, "why")
        ends.side.close(4002, "again")
        await ends.side.send(Message(b"late", True))

    asyncio.run(converse())
    assert [(one.opcode, bytes(one.data)) for one in ends.heard()][:2] == [
        (Opcode.TEXT, b"text"),
        (Opcode.BINARY, b"\xff"),
    ]
    assert ends.peer.close_rcvd is not None
    assert (ends.peer.close_rcvd.code, ends.peer.close_rcvd.reason) == (4001, "why")
    assert ends.wire.closed == 1


def test_a_reader_that_waits_lets_no_more_arrive_and_a_slow_peer_holds_the_writer_back():
    async def converse():
        ends = Ends(Side.SERVER)
        ends.pipe.arrived(b"x" * AHEAD)
        paused = [ends.wire.paused]
        assert len(await ends.pipe.read()) == AHEAD
        assert [*paused, ends.wire.paused] == [True, False]
        ends.pipe.pause_writing()
        waits = asyncio.create_task(ends.pipe.write(b"y"))
        for _ in range(3):
            await asyncio.sleep(0)
        assert not waits.done()
        ends.pipe.resume_writing()
        await waits
        ends.pipe.pause_writing()
        waits = asyncio.create_task(ends.pipe.write(b"z"))
        ends.pipe.end()
        await waits
        assert await ends.pipe.read() == b""

    asyncio.run(converse())


def test_many_tiny_frames_let_other_tasks_run():
    async def converse():
        ends, turns = Ends(Side.CLIENT), 0

        async def others():
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        other = asyncio.create_task(others())
        await ends.all_of(frame(Side.CLIENT, Opcode.TEXT, b"") * (8 * side_module.STEP))
        other.cancel()
        return turns

    assert asyncio.run(converse()) >= 16 - 1


@pytest.mark.parametrize("role", ROLES)
def test_nothing_that_passes_is_logged_at_any_level(role, caplog):
    caplog.set_level(logging.DEBUG)
    for name in ("websockets", "websockets.server", "websockets.client"):
        caplog.set_level(logging.DEBUG, logger=name)
    run(Ends(role), frame(role, Opcode.TEXT, b"a secret conversation"), BROKEN["a continuation of nothing"][1](role))
    assert caplog.records == [] or all("secret" not in record.getMessage() for record in caplog.records)
    assert not [record for record in caplog.records if record.name.startswith(("websockets", "keyledger"))]
