"""Requests of Anthropic's Messages API as chat completions: each member translated, refused by name, or left out."""

import json
from typing import Any

import pytest

from domain.errors import InvalidRequestError
from keyledger.llm.messages.chat_request import chat_request_of

ASKED: dict[str, Any] = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
CHAT: dict[str, Any] = {"max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOL = {"name": "weather", "description": "The weather", "input_schema": SCHEMA}
FUNCTION = {"type": "function", "function": {"name": "weather", "description": "The weather", "parameters": SCHEMA}}
PNG = {"type": "base64", "media_type": "image/png", "data": "aGk="}
FORMAT = {"type": "json_schema", "schema": SCHEMA}
ANSWER_FORMAT = {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True}}

MEMBERS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "plain": ({}, {}),
    "sampling": (
        {"temperature": 0.5, "top_p": 0.9, "top_k": 4},
        {"temperature": 0.5, "top_p": 0.9, "top_k": 4},
    ),
    "stop sequences": ({"stop_sequences": ["a", "b"]}, {"stop": ["a", "b"]}),
    "no stop sequence": ({"stop_sequences": []}, {}),
    "a stream": ({"stream": True}, {"stream": True, "stream_options": {"include_usage": True}}),
    "no stream": ({"stream": False}, {"stream": False}),
    "tools": ({"tools": [TOOL]}, {"tools": [FUNCTION]}),
    "a custom tool": ({"tools": [{"type": "custom", **TOOL, "cache_control": {}}]}, {"tools": [FUNCTION]}),
    "no tool": ({"tools": []}, {}),
    "any tool": ({"tool_choice": {"type": "any"}}, {"tool_choice": "required"}),
    "one tool": (
        {"tool_choice": {"type": "tool", "name": "weather"}},
        {"tool_choice": {"type": "function", "function": {"name": "weather"}}},
    ),
    "no tool at all": ({"tool_choice": {"type": "none"}}, {"tool_choice": "none"}),
    "one tool at a time": (
        {"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
        {"tool_choice": "auto", "parallel_tool_calls": False},
    ),
    "little thought": ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, {"reasoning_effort": "low"}),
    "much thought": ({"thinking": {"type": "enabled", "budget_tokens": 32_000}}, {"reasoning_effort": "high"}),
    "thought as the model likes": ({"thinking": {"type": "adaptive", "display": "summarized"}}, {}),
    "no thought": ({"thinking": {"type": "disabled"}}, {}),
    "an effort": ({"output_config": {"effort": "medium"}}, {"reasoning_effort": "medium"}),
    "an effort and a budget": (
        {"thinking": {"type": "enabled", "budget_tokens": 1024}, "output_config": {"effort": "high"}},
        {"reasoning_effort": "high"},
    ),
    "a schema": ({"output_config": {"format": FORMAT}}, {"response_format": ANSWER_FORMAT}),
    "a schema in its first form": ({"output_format": FORMAT}, {"response_format": ANSWER_FORMAT}),
    "what changes no answer": (
        {"metadata": {"user_id": "u"}, "service_tier": "auto", "cache_control": {"type": "ephemeral"}},
        {},
    ),
    "nulls": ({"system": None, "tools": None}, {}),
}


def test_members_are_translated():
    for name, (given, expected) in MEMBERS.items():
        assert chat_request_of({**ASKED, **given}) == {**CHAT, **expected}, name


def _messages(*messages: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
    found = chat_request_of({**ASKED, "messages": list(messages), **more})["messages"]
    assert isinstance(found, list)
    return found


def test_system_prompts_come_first():
    user = {"role": "user", "content": "hi"}
    assert _messages(user, system="Be brief.") == [{"role": "system", "content": "Be brief."}, user]
    blocks = [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]
    assert _messages(user, system=blocks)[0] == {"role": "system", "content": [{"type": "text", "text": "Be brief."}]}


def test_a_conversation_with_tools_and_images_keeps_its_order():
    found = _messages(
        {"role": "user", "content": [{"type": "text", "text": "Look"}, {"type": "image", "source": PNG}]},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "Hm", "signature": "s"},
                {"type": "text", "text": "I ask."},
                {"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "Malmö"}},
                {"type": "tool_use", "id": "t2", "name": "weather", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "t1", "content": "rain", "is_error": False},
                {"type": "tool_result", "tool_use_id": "t2", "content": [{"type": "text", "text": "sun"}]},
                {"type": "text", "text": "And now?"},
                {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}},
                {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "A page"}},
            ],
        },
    )
    calls = [
        {"id": "t1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Malmö"}'}},
        {"id": "t2", "type": "function", "function": {"name": "weather", "arguments": "{}"}},
    ]
    assert found == [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Look"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}},
            ],
        },
        {"role": "assistant", "content": "I ask.", "tool_calls": calls},
        {"role": "tool", "tool_call_id": "t1", "content": "rain"},
        {"role": "tool", "tool_call_id": "t2", "content": [{"type": "text", "text": "sun"}]},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "And now?"},
                {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
                {"type": "text", "text": "A page"},
            ],
        },
    ]


def test_what_may_be_empty_is_not_sent_as_an_empty_list():
    """OpenAI's API refuses lists of no parts, where Anthropic's takes them."""
    result = {"type": "tool_result", "tool_use_id": "t1", "content": []}
    found = _messages(USER, {"role": "assistant", "content": []}, {"role": "user", "content": [result]}, system=[])
    assert found == [USER, {"role": "tool", "tool_call_id": "t1", "content": ""}]


USER = {"role": "user", "content": "hi"}
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no messages": ({"messages": []}, "messages"),
    "messages that are a text": ({"messages": "hi"}, "messages"),
    "a system message among them": ({"messages": [{"role": "system", "content": "a"}]}, "messages"),
    "an answer to continue": ({"messages": [USER, {"role": "assistant", "content": "{"}]}, "messages"),
    "an answer to continue before an empty message": (
        {"messages": [USER, {"role": "assistant", "content": "{"}, {"role": "user", "content": []}]},
        "message 3",
    ),
    "a role that is a list": ({"messages": [{"role": [], "content": "hi"}]}, "messages"),
    "thought of a list": ({"thinking": {"type": []}}, "thinking"),
    "perhaps one tool at a time": (
        {"tool_choice": {"type": "any", "disable_parallel_tool_use": "true"}},
        "disable_parallel_tool_use",
    ),
    "two schemas": ({"output_format": FORMAT, "output_config": {"format": FORMAT}}, "output_format"),
    "content that is a number": ({"messages": [{"role": "user", "content": 1}]}, "messages"),
    "a block without a type": ({"messages": [{"role": "user", "content": [{}]}]}, "messages"),
    "a text without a text": ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages"),
    "a file": (
        {"messages": [{"role": "user", "content": [{"type": "container_upload", "file_id": "f"}]}]},
        "container_upload",
    ),
    "a PDF": (
        {"messages": [{"role": "user", "content": [{"type": "document", "source": {**PNG}}]}]},
        "document",
    ),
    "an image in a result": (
        {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "image", "source": PNG}]}
                    ],
                }
            ]
        },
        "tool_result",
    ),
    "an image kept in files": (
        {"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "file", "file_id": "f"}}]}]},
        "image",
    ),
    "a result without its call": (
        {"messages": [{"role": "user", "content": [{"type": "tool_result", "content": "a"}]}]},
        "tool_use_id",
    ),
    "a tool of Anthropic's own": ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools"),
    "a tool with examples": ({"tools": [{**TOOL, "input_examples": [{}]}]}, "input_examples"),
    "a tool without a schema": ({"tools": [{"name": "a"}]}, "tools"),
    "a choice of no kind": ({"tool_choice": {"type": "some"}}, "tool_choice"),
    "a choice that is a text": ({"tool_choice": "auto"}, "tool_choice"),
    "thought of no kind": ({"thinking": {"type": "enabled"}}, "thinking"),
    "an effort there is not": ({"output_config": {"effort": "max"}}, "output_config"),
    "a grammar": ({"output_format": {"type": "grammar"}}, "output_format"),
    "stop sequences of numbers": ({"stop_sequences": [1]}, "stop_sequences"),
    "servers of tools": ({"mcp_servers": [{}]}, "mcp_servers"),
    "a container": ({"container": "c"}, "container"),
    "a misspelling": ({"max_token": 1}, "did you mean max_tokens"),
    "no limit": ({"max_tokens": None}, "max_tokens"),
    "a system prompt of numbers": ({"system": [1]}, "system"),
}


def test_what_has_no_counterpart_is_refused_by_name():
    for name, (given, said) in REFUSED.items():
        with pytest.raises(InvalidRequestError) as refused:
            chat_request_of({**ASKED, **given})
        texts = [f"{field.field} {field.rule}" for field in refused.value.fields]
        assert any(said in text for text in texts), (name, texts)


def test_a_key_in_the_place_of_a_name_is_not_repeated():
    key = "sk-live-0123456789abcdef0123456789abcdef"
    blocks = [{"type": key}]
    for given in ({key: 1}, {"thinking": {key: 1}}, {"messages": [{"role": "user", "content": blocks}]}):
        with pytest.raises(InvalidRequestError) as refused:
            chat_request_of({**ASKED, **given})
        assert key not in json.dumps([(field.field, field.rule) for field in refused.value.fields])
