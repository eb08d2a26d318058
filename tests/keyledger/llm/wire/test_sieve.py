"""A text is searched for a key only if it holds the middle of it: how long a search takes must show no less."""

import base64
from collections.abc import Iterator

import pytest

from keyledger.llm.wire import sieve
from keyledger.llm.wire.key_forms import KeyForms
from keyledger.llm.wire.sieve import Sieve
from tests.support.each import each

KEY = b"sk-proj-Qx7_vT3-mLw9Za4Rk2YbN8uCe"
HEXADECIMAL = "8d1f0b7c25e94a63b0f7d2986ce1a354"


@each("key", [KEY, *(KEY[:length] for length in range(8, 20))])
@each("ahead", [*range(17), 511, 512, 513])
@each("behind", [0, 1, 7, 600])
def test_a_key_passes_wherever_it_is(key: bytes, ahead: int, behind: int) -> None:
    assert Sieve([key, b"another-key-of-some-length"]).may_hold(b"x" * ahead + key + b"y" * behind)


@pytest.mark.parametrize("ahead", range(9))
def test_all_but_the_middle_of_a_key_does_not(ahead: int) -> None:
    half = len(KEY) // 2
    for cut in (KEY[:half], KEY[half + 1 :], KEY[:half] + b"?" + KEY[half + 1 :], b"", b"s" * 5000, KEY[-1:] * 5000):
        assert not Sieve([KEY]).may_hold(b"x" * ahead + cut + b"y" * 100)


@pytest.mark.parametrize("known", range(1, 12))
def test_too_little_of_a_key_to_be_guessed_is_not_enough_in_any_form(
    known: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a hexadecimal key, a caller can try all that a few characters may be in one response."""
    answers: list[bool] = []
    may_hold = Sieve.may_hold

    def watched(of: Sieve, text: bytes) -> bool:
        answers.append(may_hold(of, text))
        return answers[-1]

    monkeypatch.setattr(Sieve, "may_hold", watched)
    forms = KeyForms(HEXADECIMAL)
    for begin in range(len(HEXADECIMAL) - known + 1):
        part = HEXADECIMAL[begin : begin + known].encode()
        encoded = [base64.b64encode(bytes(ahead) + part) for ahead in range(3)]
        forms.found_in(b"".join(b"?" * at + one + b"?" * 16 for one in (part, *encoded) for at in range(17)))
    assert not any(answers)
    forms.found_in(HEXADECIMAL.encode())
    assert answers[-1]


@pytest.mark.parametrize("key", [KEY, KEY[:20], KEY[:9]])
def test_all_of_a_text_is_compared_wherever_it_holds_the_key(key: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[bytes] = []
    cut = sieve._cut

    def watched(*given: bytes | int) -> Iterator[bytes]:
        for one in cut(*given):  # type: ignore[arg-type]  # as they were given
            compared.append(one)
            yield one

    monkeypatch.setattr(sieve, "_cut", watched)
    counts = set()
    for ahead in (0, 100, 3000):
        compared.clear()
        assert Sieve([key]).may_hold(b"x" * ahead + key + b"x" * (3000 - ahead))
        counts.add(len(compared))
    compared.clear()
    assert not Sieve([key]).may_hold(b"x" * (3000 + len(key)))
    assert {len(compared)} == counts


def test_without_a_key_no_text_passes() -> None:
    assert not Sieve([]).may_hold(KEY)
