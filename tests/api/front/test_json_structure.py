"""The structure of a JSON text is counted before it is parsed."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.front import json_structure
from api.front.json_structure import CONTAINERS_MAX, VALUES_MAX, check_structure, is_long
from domain.errors import InvalidRequestError

JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(alphabet='ab"\\[]{},:é\U0001f600\n')),
    lambda inner: st.one_of(
        st.lists(inner), st.dictionaries(st.text(alphabet='a"\\{[,'), inner), st.tuples(inner, inner)
    ),
)


def counted(value):
    """Containers and commas of a value."""
    if isinstance(value, dict):
        inner = [counted(member) for member in value.values()]
    elif isinstance(value, list | tuple):
        inner = [counted(item) for item in value]
    else:
        return 0, 0
    return 1 + sum(one for one, _ in inner), max(0, len(value) - 1) + sum(commas for _, commas in inner)


@given(JSON, st.booleans(), st.integers(1, 7))
def test_the_count_is_exact_wherever_a_piece_ends(value, ascii_only, piece):
    text = json.dumps(value, ensure_ascii=ascii_only).encode()
    containers, commas = counted(value)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_structure, "_PIECE", piece)
        for most, name in ((containers, "CONTAINERS_MAX"), (commas, "VALUES_MAX")):
            patch.setattr(json_structure, name, most)
        check_structure(text)
        for most, name in ((containers, "CONTAINERS_MAX"), (commas, "VALUES_MAX")):
            if most:
                patch.setattr(json_structure, name, most - 1)
                with pytest.raises(InvalidRequestError):
                    check_structure(text)
                patch.setattr(json_structure, name, most)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b'{"messages":[' + b"{}," * CONTAINERS_MAX + b"{}]}", id="objects"),
        pytest.param(b"[" * 1_000_000, id="brackets that stay open"),
        pytest.param(b"[" + b"1," * (VALUES_MAX + 1) + b"1]", id="numbers"),
        pytest.param(b"[" + b'"a",' * (VALUES_MAX + 1) + b'"a"]', id="texts"),
        pytest.param(b"{" + b'"a":1,' * (VALUES_MAX + 1) + b'"b":1}', id="members"),
    ],
)
def test_too_much_structure_is_refused(text):
    with pytest.raises(InvalidRequestError, match="at most"):
        check_structure(text)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(json.dumps({"image": "A" * 7_000_000}).encode(), id="a photograph in base64"),
        pytest.param(json.dumps({"csv": "1,2,[3],{4}\n" * 500_000}).encode(), id="a table in a text"),
        pytest.param(json.dumps({"code": '{"a": ["\\"]}' * 400_000}).encode(), id="a program in a text"),
        pytest.param(json.dumps({"input": [list(range(1000)) for _ in range(300)]}).encode(), id="300,000 tokens"),
        pytest.param(
            json.dumps(
                {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}] * 8}] * 2048}
            ).encode(),
            id="as many messages as there may be",
        ),
    ],
)
def test_what_calls_need_is_not(text):
    check_structure(text)


@pytest.mark.parametrize(
    ("value", "long"),
    [
        ({"messages": [{"role": "user", "content": "x" * 100_000}] * 20}, False),
        ({"messages": [{"role": "user", "content": "x"}] * 1000}, True),
        ({"input": list(range(5000))}, True),
        ({"deep": [[[[list(range(3000))]]]]}, True),
        ({}, False),
    ],
)
def test_a_long_value_is_told_from_a_large_one(value, long):
    assert is_long(value) is long
