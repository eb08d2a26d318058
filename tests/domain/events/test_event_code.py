"""A code shows that a holder of the ledger's keys wrote an event in its place, and nothing else passes for one."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.events.event_code import CodeKey, CodeState, EventCodes, LogRow, shown_key_id

LEDGER, STREAM = UUID(int=1), UUID(int=2)
OLD, NEW = CodeKey("k0000000001", b"1" * 32), CodeKey("k0000000002", b"2" * 32)
SIGNER = CodeKey("s00000001", b"4" * 32)
CODES = EventCodes(LEDGER, [NEW, OLD])


def row_by(codes: EventCodes, position: int = 7) -> LogRow:
    code = codes.code(STREAM, 3, "CredentialDeleted", b"{}")
    key_id, mac = code or (None, None)
    return LogRow(position, STREAM, 3, "CredentialDeleted", b"{}", key_id, mac)


WRITTEN = row_by(CODES)
FORGERIES = [
    pytest.param(WRITTEN._replace(stream=UUID(int=9)), CodeState.WRONG, id="in another stream"),
    pytest.param(WRITTEN._replace(version=4), CodeState.WRONG, id="at another version"),
    pytest.param(WRITTEN._replace(version=-3), CodeState.WRONG, id="at a negative version"),
    pytest.param(WRITTEN._replace(topic="CredentialSet"), CodeState.WRONG, id="of another topic"),
    pytest.param(WRITTEN._replace(state=b"{} "), CodeState.WRONG, id="with other bytes"),
    pytest.param(WRITTEN._replace(topic="CredentialDelete", state=b"d{}"), CodeState.WRONG, id="with a moved border"),
    pytest.param(WRITTEN._replace(code=bytes(32)), CodeState.WRONG, id="with another code"),
    pytest.param(WRITTEN._replace(code=b""), CodeState.WRONG, id="with an empty code"),
    pytest.param(WRITTEN._replace(code=None), CodeState.WRONG, id="with a key id alone"),
    pytest.param(WRITTEN._replace(code_key_id=OLD.key_id), CodeState.WRONG, id="under the name of another key"),
    pytest.param(WRITTEN._replace(code_key_id=None, code=None), CodeState.MISSING, id="without a code"),
    pytest.param(row_by(EventCodes(UUID(int=8), [NEW])), CodeState.WRONG, id="of another ledger"),
    pytest.param(
        row_by(EventCodes(LEDGER, [CodeKey(NEW.key_id, b"3" * 32)])), CodeState.WRONG, id="by a writer without the key"
    ),
]


@pytest.mark.parametrize(("forged", "said"), FORGERIES)
def test_what_nobody_with_a_key_wrote_is_a_forgery(forged: LogRow, said: CodeState) -> None:
    assert CODES.check(WRITTEN) is CodeState.RIGHT
    assert CODES.check(forged) is said
    assert said.is_forgery


HONEST = [
    pytest.param(CODES, row_by(EventCodes(LEDGER, [OLD])), CodeState.RIGHT, id="by a node with the former key"),
    pytest.param(EventCodes(LEDGER), WRITTEN, CodeState.UNCHECKED, id="read without a key"),
    pytest.param(EventCodes(LEDGER, [OLD]), WRITTEN, CodeState.UNKNOWN_KEY, id="under a key that is not at hand"),
    pytest.param(
        EventCodes(LEDGER, [SIGNER]), WRITTEN, CodeState.UNCHECKED, id="by a node that seals, read by one that signs"
    ),
    pytest.param(EventCodes(LEDGER, [OLD], 7), WRITTEN, CodeState.ATTESTED, id="under a retired key, attested"),
    pytest.param(EventCodes(LEDGER, [OLD], 6), WRITTEN, CodeState.UNKNOWN_KEY, id="after what was attested"),
    pytest.param(
        EventCodes(LEDGER, [OLD], 7, lost=[NEW.key_id]), WRITTEN, CodeState.LOST_KEY, id="under a key declared lost"
    ),
    pytest.param(
        EventCodes(LEDGER, [NEW], 7), row_by(EventCodes(LEDGER)), CodeState.ATTESTED, id="before the first key"
    ),
]


@pytest.mark.parametrize(("codes", "row", "said"), HONEST)
def test_what_is_honest_is_never_called_a_forgery(codes: EventCodes, row: LogRow, said: CodeState) -> None:
    assert codes.check(row) is said
    assert not said.is_forgery


def row_at(position: int, second: int, codes: EventCodes = CODES) -> LogRow:
    """An event of a second of a minute."""
    state = (
        f'{{"reason":"\\"timestamp\\":\\"9999\\"","timestamp":"2026-11-28T20:00:{second:02}.000000+00:00"}}'.encode()
    )
    code = codes.code(STREAM, 3, "CredentialDeleted", state)
    assert code is not None
    return LogRow(position, STREAM, 3, "CredentialDeleted", state, *code)


RESTORED = CODES.with_restore(row_at(10, 30))
AROUND_A_RESTORE = {
    "before the acceptance": (row_at(9, 20), CodeState.RIGHT),
    "the acceptance": (row_at(10, 30), CodeState.RIGHT),
    "after it, at the same time": (row_at(11, 30), CodeState.RIGHT),
    "after it": (row_at(12, 31), CodeState.RIGHT),
    "older, and appended after it": (row_at(11, 29), CodeState.ABANDONED),
    "without a time, and appended after it": (WRITTEN._replace(position=11), CodeState.ABANDONED),
    "wrong in any case": (row_at(12, 31)._replace(code=bytes(32)), CodeState.WRONG),
}


@pytest.mark.parametrize(("row", "said"), AROUND_A_RESTORE.values(), ids=AROUND_A_RESTORE)
def test_an_event_of_a_part_that_a_restore_gave_up_is_a_forgery_after_its_acceptance(
    row: LogRow, said: CodeState
) -> None:
    for codes in (RESTORED, RESTORED.with_keys([OLD, NEW]), CODES.with_restores_of(RESTORED)):
        assert codes.check(row) is said


def test_an_acceptance_counts_only_if_a_holder_of_the_keys_wrote_it() -> None:
    forged = CODES.with_restore(row_at(10, 30)._replace(code=bytes(32)))
    assert forged.check(row_at(11, 29)) is CodeState.RIGHT


@pytest.mark.parametrize("position", [0, -1, -(2**62)])
def test_a_position_before_the_log_is_never_attested(position: int) -> None:
    codes = EventCodes(LEDGER, [NEW], 7)
    assert codes.check(row_by(EventCodes(LEDGER), position)) is CodeState.MISSING


def test_an_attested_position_does_not_excuse_a_wrong_code() -> None:
    assert EventCodes(LEDGER, [NEW], 7).check(WRITTEN._replace(state=b"x")) is CodeState.WRONG


def test_an_operator_accepts_one_position_and_no_other() -> None:
    codes = EventCodes(LEDGER, [NEW], 9, accepted=[7])
    assert codes.check(WRITTEN._replace(state=b"x")) is CodeState.ATTESTED
    assert codes.check(WRITTEN._replace(state=b"x", position=8)) is CodeState.WRONG


@given(st.text(max_size=20), st.binary(max_size=40), st.text(max_size=20), st.binary(max_size=40))
def test_different_events_have_different_codes(topic: str, state: bytes, other: str, others: bytes) -> None:
    same = (topic, state) == (other, others)
    assert (CODES.code(STREAM, 1, topic, state) == CODES.code(STREAM, 1, other, others)) is same


def test_a_key_shows_its_id_alone() -> None:
    assert repr(NEW) == "<event code key k0000000002>"
    assert "2222" not in repr(vars(CODES))


@pytest.mark.parametrize("stored", [None, "", "k\x1b[2J", "sk-live-0123456789", "k00000000012"])
def test_a_stored_key_id_is_shown_only_where_it_is_one(stored: str | None) -> None:
    assert shown_key_id(stored) == "malformed"
