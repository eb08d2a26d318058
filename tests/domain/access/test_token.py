"""Tokens that a scanner can find and check."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.access.token import digest_of, is_token, new_token
from domain.credentials.key_shapes import holds_key, masked

KNOWN = b"klk_" + b"A" * 43 + b"2NfijI"
"""Of 32 zero bytes: what scanners of other people are tested with never changes."""


def test_the_token_of_known_bytes_never_changes() -> None:
    token = new_token(lambda count: bytes(count)).reveal().encode()
    assert token == KNOWN
    assert is_token(token)


@given(st.binary(min_size=32, max_size=32))
def test_every_token_has_its_form_and_no_other_last_characters(drawn: bytes) -> None:
    token = new_token(lambda _: drawn).reveal().encode()
    assert is_token(token)
    assert len(token) == 53
    assert digest_of(token) == sha256(token).hexdigest()


@given(st.binary(min_size=32, max_size=32), st.integers(4, 52), st.characters(codec="ascii", categories=["L", "N"]))
def test_one_other_character_is_found_without_the_service(drawn: bytes, place: int, letter: str) -> None:
    token = new_token(lambda _: drawn).reveal()
    other = token[:place] + letter + token[place + 1 :]
    assert is_token(other.encode()) == (other == token)


@pytest.mark.parametrize("text", [b"", b"klk_", KNOWN[:-1], KNOWN + b"x", b"sk-proj-0123456789", b"\xff" * 53])
def test_what_is_no_token_is_none(text: bytes) -> None:
    assert not is_token(text)


def test_two_tokens_differ_and_neither_shows_itself() -> None:
    one, other = new_token(), new_token()
    assert one != other
    assert one.reveal() not in f"{one} {one!r}"
    assert holds_key(f"the token is {one.reveal()}")
    assert masked(one.reveal()) == f"...{one.reveal()[-4:]}"
