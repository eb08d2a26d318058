"""The models of a WebSocket: one in the query, and none in a message that the caller's scope does not have."""

import asyncio
import json
from dataclasses import dataclass, field
from decimal import Decimal
from typing import cast

from api.front.callers import RequestAdmission
from api.front.problems import HttpError
from api.front.standing import Standing
from api.rest.calls.socket_models import SocketModels
from domain.access.access_key import AccessTerms
from domain.access.key_limits import KeyLimits
from domain.access.scope import Scope, Surface, Wanted
from domain.calls.models import Adapter, Model, ModelKind
from domain.calls.web_socket import Message
from domain.credentials.built_in_providers import BUILT_IN
from domain.errors import ServiceError
from tests.api.scripted import ScriptedModels
from tests.support.each import each
from tests.support.scenario import TENANT


@dataclass
class Caller:
    """An admitted caller."""

    terms: AccessTerms
    name: str = "k"


class Stands:
    """The standing of an access key."""

    digest = "0" * 64


@dataclass
class Catalogue(ScriptedModels):
    """`renamed` is another model at openai, and `elsewhere` one of another provider."""

    known: list[Model] = field(
        default_factory=lambda: [
            Model("renamed", ModelKind.COMPLETION, "openai", Adapter.LITELLM, "gpt-other"),
            Model("elsewhere", ModelKind.COMPLETION, "xai", Adapter.LITELLM, "elsewhere"),
            Model("gpt-4o", ModelKind.COMPLETION, "openai", Adapter.LITELLM, "gpt-4o"),
        ]
    )

    def models(self):
        return self.known


def opening(
    query="model=gpt-realtime", provider="openai", models=("gpt-*", "renamed", "elsewhere"), networks=None, **limits
):
    wanted = Wanted(tenant=TENANT, provider=provider, surface=Surface.NATIVE, method="GET", path="v1/realtime")
    admission = RequestAdmission.__new__(RequestAdmission)
    admission.standing = cast("Standing", Stands())
    admission.caller = Caller(AccessTerms(Scope(models=models, networks=networks), KeyLimits(**limits)))
    return SocketModels(wanted, query, BUILT_IN[provider], Catalogue(), admission)


QUERIES = {
    "model=gpt-realtime": "gpt-realtime",
    "model=openai%2Fgpt-realtime": "openai/gpt-realtime",
    "model=gpt-4o": "gpt-4o",
    "model=renamed": None,
    "model=elsewhere": None,
    "": None,
    "model=": None,
    "model=a&model=b": None,
    "model=a&Model=b": None,
    "model=a;model=b": None,
    "model=a&call_id=c": None,
    "Model=a": None,
    "model=%67pt": None,
    "model=a%00": None,
}


@each("query, model", list(QUERIES.items()))
def test_the_query_names_one_model_of_the_provider_or_none(query, model):
    assert opening(query).wanted.model == model


def test_a_web_socket_of_azure_names_none_because_the_deployment_is_the_credential_s():
    assert opening("model=gpt-realtime", "azure").wanted.model is None


def session(**members):
    return {"type": "session.update", "session": members}


PASS = {
    "no model": session(instructions="be brief"),
    "the same model": session(model="gpt-realtime"),
    "another model within the scope": session(audio={"input": {"transcription": {"model": "gpt-4o-transcribe"}}}),
    "a tool with a parameter of that name": session(
        tools=[{"parameters": {"properties": {"model": {"type": "string"}}}}]
    ),
    "a text about models": {"type": "conversation.item.create", "item": {"content": [{"text": '{"model": "o3"}'}]}},
}
OUTSIDE = {
    "another model": session(model="o3"),
    "another one, deep within": session(audio=[{"input": [{"transcription": {"model": "whisper-1"}}]}]),
    "another one, at the top": {"type": "session.update", "model": "whisper-1"},
    "one in another spelling": session(**{"MODEL ": "o3"}),
    "a name that the catalogue has for another model": session(model="renamed"),
    "several models": session(models=["gpt-realtime"]),
    "other models to fall back to": session(fallbacks=[]),
    "a list": ["session.update"],
    "a number": 1,
}
BROKEN = {
    "a member twice": b'{"model": "gpt-realtime", "model": "o3"}',
    "a member twice, once escaped": b'{"model": "gpt-realtime", "mode\\u006c": "o3"}',
    "no JSON": b"model=o3",
    "nothing": b"",
    "too deep": b'{"a":' * 500 + b"1" + b"}" * 500,
}


def error_of(socket, message):
    try:
        asyncio.run(socket.check(message))
    except (ServiceError, HttpError) as error:
        return error.code
    return None


@each("body", list(PASS.values()), ids=list(PASS))
def test_a_message_within_the_scope_passes(body):
    assert error_of(opening(), Message(json.dumps(body).encode(), True)) is None


@each("body", list(OUTSIDE.values()), ids=list(OUTSIDE))
def test_a_message_that_names_another_model_is_refused(body):
    assert error_of(opening(), Message(json.dumps(body).encode(), True)) in {"outside-scope", "invalid-request"}


@each("text", list(BROKEN.values()), ids=list(BROKEN))
def test_a_message_that_parsers_may_read_differently_is_refused(text):
    assert error_of(opening(), Message(text, True)) is not None


def test_a_binary_message_is_refused_and_a_long_one_is_read_too():
    assert error_of(opening(), Message(b'{"model": "gpt-realtime"}', False)) == "invalid-request"
    long = json.dumps({"audio": "A" * 2_000_000, "session": {"model": "o3"}}).encode()
    assert error_of(opening(), Message(long, True)) == "outside-scope"


def test_the_messages_of_a_caller_that_is_not_limited_to_models_are_not_read():
    for text in BROKEN.values():
        assert error_of(opening(models=None), Message(text, True)) is None
    socket = opening()
    assert socket._admission is not None
    socket._admission = None
    assert error_of(socket, Message(b"\x00", False)) is None


def test_a_caller_that_was_given_a_budget_meanwhile_may_send_nothing_more():
    assert error_of(opening(models=None, tokens_per_day=1), Message(b"any", True)) == "outside-scope"
    assert error_of(opening(models=None, spend_per_month=Decimal(1)), Message(b"any", False)) == "outside-scope"


def test_a_caller_limited_to_networks_may_send_messages():
    """The address of a caller is checked with the request, and again while the socket is open."""
    assert error_of(opening(networks=("10.0.0.0/8",)), Message(b'{"model": "gpt-4o"}', True)) is None
