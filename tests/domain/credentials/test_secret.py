"""Secrets show nothing by accident."""

import copy
import json
import pickle
import traceback
from collections.abc import Callable

import pytest

from domain.credentials.secret import SealedSecret, Secret, mask

CANARY = "sk-CANARY-7f3a9c-xyz9"

SHOWN: list[object] = [
    pytest.param(repr, id="repr"),
    pytest.param(str, id="str"),
    pytest.param(lambda value: f"{value}", id="f-string"),
    pytest.param(lambda value: f"{value!r:>40}", id="padded f-string"),
    pytest.param("{}".format, id="format"),
    pytest.param(lambda value: repr([{"key": value}]), id="inside a container"),
]


@pytest.mark.parametrize("show", SHOWN)
@pytest.mark.parametrize(
    "value",
    [
        pytest.param(Secret(CANARY), id="secret"),
        pytest.param(SealedSecret(CANARY, CANARY, "k0000000001"), id="sealed secret"),
    ],
)
def test_text_made_of_a_secret_does_not_hold_it(show: Callable[[object], str], value: object) -> None:
    assert CANARY not in show(value)


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(Secret(CANARY), id="secret"),
        pytest.param(SealedSecret(CANARY, CANARY, "k0000000001"), id="sealed secret"),
    ],
)
@pytest.mark.parametrize(
    "serialise",
    [
        pytest.param(pickle.dumps, id="pickle"),
        pytest.param(copy.deepcopy, id="copy"),
        pytest.param(json.dumps, id="json"),
    ],
)
def test_a_secret_is_not_serialised(value: object, serialise: Callable[[object], object]) -> None:
    with pytest.raises(TypeError) as refused:
        serialise(value)
    assert CANARY not in "".join(traceback.format_exception(refused.value))


def test_a_secret_is_equal_to_the_same_text_and_to_nothing_else() -> None:
    assert Secret(CANARY) == Secret(CANARY)
    assert Secret(CANARY) != Secret(CANARY + "0")
    assert Secret(CANARY) != CANARY


def test_a_secret_cannot_be_a_dictionary_key() -> None:
    with pytest.raises(TypeError):
        hash(Secret(CANARY))


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        pytest.param("sk-live-0123xyz9", "...xyz9", id="the last four characters"),
        pytest.param("12345678", "...5678", id="the shortest key"),
        pytest.param("xyz9", "***", id="nothing of what is too short to hide"),
        pytest.param("", "***", id="nothing of nothing"),
    ],
)
def test_a_mask_shows(value: str, shown: str) -> None:
    assert mask(value) == shown
