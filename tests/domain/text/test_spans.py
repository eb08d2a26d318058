"""Lengths of time are read in minutes, hours and days, and in nothing else."""

from datetime import timedelta

import pytest

from domain.text.spans import span_of


@pytest.mark.parametrize(
    ("text", "length"),
    [("90m", timedelta(minutes=90)), ("24h", timedelta(hours=24)), ("7d", timedelta(days=7)), ("0m", timedelta())],
)
def test_a_length_has_a_number_and_a_unit(text: str, length: timedelta) -> None:
    assert span_of(text) == length


@pytest.mark.parametrize("text", ["", "7", "d", "-1d", "1.5h", "7w", "7d ", "7 d", "\u0667d", "123456d", "1d2h"])
def test_any_other_text_is_none(text: str) -> None:
    assert span_of(text) is None
