"""OpenAI's chat in Anthropic's words."""

import pytest

from domain.errors import InvalidRequestError
from keyledger.llm.adapters.anthropic_dialect import to_anthropic
from keyledger.llm.requests.parameters import chat_request
from tests.keyledger.llm.rig import HELLO, WEATHER


def translated(**params):
    return to_anthropic(chat_request({"messages": HELLO, **params}), "claude")


def test_the_least_request_gets_a_limit():
    text = [{"type": "text", "text": "hello"}]
    messages = [{"role": "user", "content": text}]
    assert translated() == {"model": "claude", "max_tokens": 4096, "stream": False, "messages": messages}


def test_system_and_developer_messages_become_one_system_text():
    messages = [
        {"role": "system", "content": "A"},
        *HELLO,
        {"role": "developer", "content": [{"type": "text", "text": "B"}]},
    ]
    body = translated(messages=messages)
    assert body["system"] == "A\n\nB"
    assert len(body["messages"]) == 1


def test_turns_of_the_same_role_are_joined():
    messages = [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]
    (turn,) = translated(messages=messages)["messages"]
    assert [block["text"] for block in turn["content"]] == ["a", "b"]


def test_tool_calls_and_their_results_find_each_other():
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Lund"}'}}
    messages = [
        *HELLO,
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "rain"},
    ]
    body = translated(messages=messages, tools=WEATHER)
    assert body["messages"][1]["content"] == [
        {"type": "tool_use", "id": "c1", "name": "weather", "input": {"city": "Lund"}}
    ]
    assert body["messages"][2]["content"] == [{"type": "tool_result", "tool_use_id": "c1", "content": "rain"}]
    assert body["tools"][0]["input_schema"]["properties"] == {"city": {"type": "string"}}


@pytest.mark.parametrize(
    ("url", "source"),
    [
        ("data:image/png;base64,AAAA", {"type": "base64", "media_type": "image/png", "data": "AAAA"}),
        ("https://example.com/x.png", {"type": "url", "url": "https://example.com/x.png"}),
    ],
)
def test_images_go_as_data_or_as_address(url, source):
    content = [{"type": "image_url", "image_url": {"url": url}}]
    body = translated(messages=[{"role": "user", "content": content}])
    assert body["messages"][0]["content"] == [{"type": "image", "source": source}]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param({"max_completion_tokens": 9}, {"max_tokens": 9}, id="the newer name of the limit"),
        pytest.param({"stop": "x"}, {"stop_sequences": ["x"]}, id="one stop text"),
        pytest.param({"stop": ["x", "y"]}, {"stop_sequences": ["x", "y"]}, id="several stop texts"),
        pytest.param({"user": "u"}, {"metadata": {"user_id": "u"}}, id="the user"),
        pytest.param(
            {"parallel_tool_calls": False, "tools": WEATHER},
            {"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
            id="one tool at a time",
        ),
        pytest.param({"tool_choice": "required"}, {"tool_choice": {"type": "any"}}, id="some tool"),
        pytest.param(
            {"tool_choice": {"type": "function", "function": {"name": "weather"}}},
            {"tool_choice": {"type": "tool", "name": "weather"}},
            id="a certain tool",
        ),
        pytest.param(
            {"temperature": 1, "top_p": 0.5, "top_k": 3}, {"temperature": 1, "top_p": 0.5, "top_k": 3}, id="same"
        ),
    ],
)
def test_parameters_are_translated(given, expected):
    body = translated(**given)
    assert {name: body[name] for name in expected} == expected


@pytest.mark.parametrize("params", [{"n": 2}, {"logprobs": True}, {"seed": 1}, {"tool_choice": "x"}, {"min_p": 0.1}])
def test_what_has_no_counterpart_is_refused_by_name(params):
    with pytest.raises(InvalidRequestError) as refused:
        translated(**params)
    assert {error.field for error in refused.value.fields} == set(params)
