"""A text is searched for a key only if it holds the middle of it: how long a search takes must show no less."""

import pytest

from keyledger.llm.wire.sieve import Sieve

KEY = b"sk-proj-Qx7_vT3-mLw9Za4Rk2YbN8uCe"


@pytest.mark.parametrize("key", [KEY, *(KEY[:length] for length in range(8, 20))])
@pytest.mark.parametrize("ahead", [*range(17), 511, 512, 513])
@pytest.mark.parametrize("behind", [0, 1, 7, 600])
def test_a_key_passes_wherever_it_is(key: bytes, ahead: int, behind: int) -> None:
    assert Sieve([key, b"another-key-of-some-length"]).may_hold(b"x" * ahead + key + b"y" * behind)


@pytest.mark.parametrize("ahead", range(9))
def test_all_but_the_middle_of_a_key_does_not(ahead: int) -> None:
    half = len(KEY) // 2
    for cut in (KEY[:half], KEY[half + 1 :], KEY[:half] + b"?" + KEY[half + 1 :], b"", b"s" * 5000, KEY[-1:] * 5000):
        assert not Sieve([KEY]).may_hold(b"x" * ahead + cut + b"y" * 100)


def test_without_a_key_no_text_passes() -> None:
    assert not Sieve([]).may_hold(KEY)
