"""A request that cannot be said to Anthropic is refused by name, and nothing is put in its place."""

from typing import Any

import pytest

from domain.errors import InvalidRequestError
from keyledger.llm.adapters.anthropic_form import for_anthropic
from keyledger.llm.requests.parameters import chat_request
from tests.keyledger.llm.rig import HELLO, WEATHER

CALL = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
RESULT = {"role": "tool", "tool_call_id": "c1", "content": "rain"}
GROWING = {f"a{n}": {"anyOf": [{"$ref": f"#/$defs/a{n + 1}"}] * 2} for n in range(16)} | {"a16": {}}
ENDLESS = {
    "type": "object",
    "properties": {"x": {"$ref": "#/$defs/x"}},
    "$defs": {"x": {"anyOf": [{"$ref": "#/$defs/x"}]}},
}
LARGE = {"type": "object", "properties": {"x": {"$ref": "#/$defs/a0"}}, "$defs": GROWING}


def user(*parts: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(parts)}]


def schema(of: dict[str, Any]) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "a", "schema": of}}


def tool(parameters: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"type": "function", "function": {"name": "f", "parameters": parameters}}]


@pytest.mark.parametrize(
    ("field", "params"),
    [
        pytest.param("messages", {"messages": [{"role": "user", "content": " \n"}]}, id="white space alone"),
        pytest.param("messages", {"messages": user({"type": "text", "text": "a"}, {"type": "text", "text": " "})}),
        pytest.param("messages", {"messages": user({"type": "input_audio", "input_audio": {}})}, id="sound"),
        pytest.param("messages", {"messages": user({"type": "video_url", "video_url": {}})}, id="a film"),
        pytest.param(
            "messages",
            {
                "messages": [
                    {"role": "system", "content": [{"type": "image_url", "image_url": {"url": "http://x"}}]},
                    *HELLO,
                ]
            },
            id="an image in instructions",
        ),
        pytest.param(
            "messages",
            {"messages": [*HELLO, {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}, *HELLO]},
            id="a part that only answers have",
        ),
        pytest.param("messages", {"messages": [{"role": "user", "name": "ann", "content": "hi"}]}, id="a speaker"),
        pytest.param(
            "messages",
            {"messages": [*HELLO, {"role": "assistant", "tool_calls": [{**CALL, "type": "custom"}]}], "tools": WEATHER},
            id="a call of another kind",
        ),
        pytest.param(
            "tools", {"messages": [*HELLO, {"role": "assistant", "tool_calls": [CALL]}, RESULT]}, id="no tools"
        ),
        pytest.param("tools", {"tools": tool({"type": "array"})}, id="parameters in a list"),
        pytest.param("tools", {"tools": tool({"anyOf": [{"type": "object"}]})}, id="alternative parameters"),
        pytest.param("tools", {"tools": tool(LARGE)}, id="parameters that grow"),
        pytest.param("tool_choice", {"tools": WEATHER, "tool_choice": "odd"}, id="an odd choice"),
        pytest.param("tool_choice", {"tools": WEATHER, "tool_choice": {"type": "allowed_tools"}}, id="some tools"),
        pytest.param("response_format", {"response_format": {"type": "grammar"}}, id="a grammar"),
        pytest.param("response_format", {"response_format": schema(LARGE)}, id="a schema that grows"),
        pytest.param("response_format", {"response_format": schema(ENDLESS)}, id="a schema without end"),
        pytest.param("max_tokens", {"max_tokens": 5, "max_completion_tokens": 9}, id="two limits"),
    ],
)
def test_what_libraries_would_change_is_refused_by_name(field: str, params: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        for_anthropic(chat_request({"messages": HELLO, **params}))
    assert [error.field for error in refused.value.fields] == [field]


@pytest.mark.parametrize(
    "params",
    [
        {"messages": user({"type": "text", "text": "a"}, {"type": "text", "text": ""})},
        {"tools": WEATHER, "tool_choice": {"type": "function", "function": {"name": "weather"}}},
        {"response_format": schema({"type": "object", "properties": {"x": {"$ref": "#/$defs/x"}}, "$defs": {"x": {}}})},
        {"max_tokens": 5, "max_completion_tokens": 5},
        {"messages": [*HELLO, {"role": "assistant", "content": None, "tool_calls": [CALL]}, RESULT], "tools": WEATHER},
    ],
    ids=["an empty part", "a tool by name", "a reference", "one limit twice", "a tool's turn"],
)
def test_what_can_be_said_is_not_refused(params: dict[str, Any]) -> None:
    for_anthropic(chat_request({"messages": HELLO, **params}))


def test_thoughts_that_came_in_pieces_go_back_whole() -> None:
    pieces = [{"type": "thinking", "thinking": text} for text in ("be", "cause")]
    signed = {"type": "thinking", "thinking": "", "signature": "s"}
    hidden = {"type": "redacted_thinking", "data": "AA=="}
    said = {"role": "assistant", "content": "42", "thinking_blocks": [*pieces, signed, hidden, pieces[0], signed]}
    asked = for_anthropic(chat_request({"messages": [*HELLO, said, *HELLO]}))
    assert asked.parameters["messages"][1]["thinking_blocks"] == [
        {"type": "thinking", "thinking": "because", "signature": "s"},
        hidden,
        {"type": "thinking", "thinking": "be", "signature": "s"},
    ]
