"""No text that a client can send is stored with a key in it.

The fields are not listed here: routes with their parameters and bodies come from the service's own OpenAPI document,
options from the command line itself, settings from what was resolved. A canary is sent through each of them; then
everything that was stored, exported, bundled, logged or answered is searched for it.
"""

import base64
import io
import logging
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import quote, urlsplit
from uuid import uuid4

import httpx
import pytest
import typer
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from domain.audit.formats import ExportFormat
from keyledger.log.recorders import audit_recorder
from keyledger.log.recorders.tally import Quota
from keyledger.proofs.signing_keys import generate_signing_key
from keyledger.settings import logs
from keyledger.settings.errors import SettingsError
from keyledger.settings.settings import load
from scripts.demo.stand_in_provider import StandInProvider
from scripts.main import command_line, main
from tests.support.canary import dump, leaks
from tests.support.effort import CANARY_TEXTS, SHARE
from tests.support.postgres import TemplatedServer
from tests.support.service import ADMIN_KEY, SHIPPED_MODELS, Client, client_of, credential, environment, served

TENANT = str(uuid4())
CANARY = f"sk-proj-CANARY{uuid4().hex}"
BASE: Mapping[str, str] = environment(
    AI_MODELS_FILE=SHIPPED_MODELS, AUDIT_SIGNING_KEY=generate_signing_key("log.test").reveal()
)
SETTINGS = load(BASE, None).resolved

WRITINGS = [
    str,
    str.upper,
    str.lower,
    lambda key: quote(key, safe=""),
    lambda key: "".join(f"%{ord(one):02X}" for one in key),
    lambda key: "".join(f"\\u{ord(one):04x}" for one in key),
    lambda key: base64.b64encode(key.encode()).decode(),
]
TEXTS = st.builds(
    lambda before, write, after: f"{before}{write(CANARY)}{after}",
    st.sampled_from(["", "leaked ", "key=", '"', "(", "Bearer ", "https://llm.example.com/v1/"]),
    st.sampled_from(WRITINGS),
    st.sampled_from(["", " today", ".", '")', "/v1"]),
)
"""The text before a key, the spelling of the key, and the text after it."""

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Call:
    """One request that is right, as far as its document says: every member of it can be replaced by a text."""

    method: str
    path: str
    places: Mapping[str, str]
    query: Mapping[str, str]
    body: Json | None
    members: Sequence[str]

    def with_each(
        self, text: str, headers: Sequence[tuple[str, ...]]
    ) -> Iterator[tuple[str, str, dict[str, str], dict[str, str], Any]]:
        """Yield method, path, query, headers and body, each time with the text in another place.

        headers: those that the document does not name, each group in a request of its own.
        """
        for name in self.places:
            yield self.method, self._path({**self.places, name: text}), dict(self.query), {}, self.body
        for name in self.members_of("query"):
            yield self.method, self._path(self.places), {**self.query, name: text}, {}, self.body
        yield self.method, self._path(self.places), {**self.query, text: text}, {}, self.body
        for names in dict.fromkeys([*((name,) for name in self.members_of("header")), *headers]):
            yield self.method, self._path(self.places), dict(self.query), dict.fromkeys(names, text), self.body
        if self.body is not None:
            for name in self.members_of("body"):
                yield self.method, self._path(self.places), dict(self.query), {}, {**self.body, name: text}
            for body in ({**self.body, text: text}, [text], text, {"apikey": text}):
                yield self.method, self._path(self.places), dict(self.query), {"X-Audit-Reason": text}, body

    def members_of(self, kind: str) -> list[str]:
        return [name.partition(" ")[2] for name in self.members if name.startswith(f"{kind} ")]

    def _path(self, places: Mapping[str, str]) -> str:
        path = self.path
        for name, value in places.items():
            path = path.replace(f"{{{name}}}", quote(value, safe=""))
        return path


HEADERS = (
    "X-Request-ID",
    "Idempotency-Key",
    "X-Audit-Reason",
    "If-Match",
    "X-API-Key",
    "Authorization",
    "Content-Type",
)
"""What any request may have without a word in the document, each on its own: one that is refused hides the others."""
UNHEEDED = (
    "User-Agent",
    "Accept",
    "Referer",
    "Cookie",
    "Forwarded",
    "X-Forwarded-For",
    "X-Real-IP",
    "X-Forwarded-Prefix",
)
"""What clients and proxies add, and no request is refused for."""
ANY = (*((name,) for name in HEADERS), UNHEEDED)

KNOWN = {"tenant_id": TENANT, "provider": "openai", "path": "v1/models", "model": "gpt-4o", "api_key": "sk-0123456789"}


def calls_of(document: Json) -> list[Call]:
    """Every operation of an OpenAPI document."""
    return [
        _call(document, path, method, operation)
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method in {"get", "head", "put", "post", "patch", "delete", "options"}
    ]


def _call(document: Json, path: str, method: str, operation: Json) -> Call:
    parameters = [_resolved(document, one) for one in operation.get("parameters", [])]
    content = _resolved(document, operation.get("requestBody", {})).get("content", {})
    shape = _resolved(document, content.get("application/json", {}).get("schema", {}))
    body = None
    if content:
        required = shape.get("required", [])
        body = {name: _value(document, name, shape["properties"][name]) for name in required}
    members = [f"{one['in']} {one['name']}" for one in parameters] + [
        f"body {name}" for name in shape.get("properties", {})
    ]
    values = {
        kind: {
            one["name"]: str(_value(document, one["name"], one.get("schema", {})))
            for one in parameters
            if one["in"] == kind and one.get("required")
        }
        for kind in ("path", "query")
    }
    return Call(method.upper(), path, values["path"], values["query"], body, members)


def _resolved(document: Json, shape: Json) -> Json:
    for step in shape["$ref"].removeprefix("#/").split("/") if "$ref" in shape else ():
        document = document[step]
    return document if "$ref" in shape else shape


def _value(document: Json, name: str, shape: Json) -> Any:
    """A value that fits a schema, as well as this test has to know."""
    shape = _resolved(document, shape)
    if name in KNOWN:
        return KNOWN[name]
    if name == "messages":
        return [{"role": "user", "content": "hello"}]
    if "enum" in shape:
        return shape["enum"][0]
    kind = shape.get("type")
    if kind in {"integer", "number"}:
        return shape.get("minimum", 1)
    if kind == "boolean":
        return False
    return [] if kind == "array" else {} if kind == "object" else TENANT


@dataclass
class Stage:
    """A service, and everything it has answered and logged."""

    client: Client
    url: str
    database_url: str
    answers: list[bytes] = field(default_factory=list)
    records: list[str] = field(default_factory=list)

    def listen(self, response: httpx.Response) -> None:
        response.read()
        self.answers.append(str(response.headers).encode() + b"\n" + response.content)

    def everything(self) -> dict[str, bytes]:
        """Everything that can be searched, by the way it comes out."""
        found = {
            form.value: self.client.http.get("/api/v1/audit/export", params={"format": form}).content
            for form in ExportFormat
        }
        for name, wanted in (("bundle", {}), ("bundle of a tenant", {"tenant_id": TENANT})):
            answer = self.client.http.get("/api/v1/audit/evidence", params=wanted)
            assert answer.status_code == 200, answer.text
            found[name] = answer.content
        found |= {"database": dump(self.database_url), "answers": b"\n".join(self.answers)}
        return found | {"log": "\n".join(self.records).encode()}


class Recording(logging.Handler):
    """Keeps records as they are, before anything is struck out of them."""

    def __init__(self, records: list[str]) -> None:
        super().__init__(logging.DEBUG)
        self._records = records

    def emit(self, record: logging.LogRecord) -> None:
        if not record.name.startswith(("httpx", "httpcore", "asyncio", "hypothesis")):  # this test's own client
            self._records.append(f"{record.getMessage()} {record.__dict__}")


@pytest.fixture(scope="module")
def stage(postgres_server: TemplatedServer) -> Iterator[Stage]:
    """A service that counts nothing together, so that each refusal is an event of its own."""
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        for quota in ("OF_WRITES", "OF_OTHERS", "OF_STRANGERS"):
            patch.setattr(audit_recorder, quota, Quota(10**6, 10**6, 10**6, timedelta(0), timedelta(0)))
        patch.setattr(audit_recorder, "TICK_S", 0.01)
        database_url = stack.enter_context(postgres_server.fresh_database())
        provider = stack.enter_context(StandInProvider(accepted=lambda key: True))
        given_settings = {
            **BASE,
            "ENDPOINT_ALLOWED_HOSTS": urlsplit(provider.url).netloc,
            **{f"{name}_API_BASE": provider.url for name in ("OPENAI", "ANTHROPIC", "MISTRAL")},
            "MISTRAL_API_KEY": f"{CANARY}-global",
        }
        url = stack.enter_context(served(database_url, given_settings))
        found = Stage(stack.enter_context(client_of(url)), url, database_url)
        stack.enter_context(_listening(found.records))
        found.client.http.event_hooks["response"].append(found.listen)
        yield found


@contextmanager
def _listening(records: list[str]) -> Iterator[None]:
    """Log as a service does at its most talkative, and hear it all."""
    root = logging.getLogger()
    handlers, level, raising = root.handlers[:], root.level, logging.raiseExceptions
    with redirect_stderr(io.StringIO()):
        logs.configure("debug", "json")
    root.handlers[:] = [Recording(records)]
    try:
        yield
    finally:
        logging.raiseExceptions = raising
        root.handlers[:] = handlers
        root.setLevel(level)


def assert_nowhere(stage: Stage) -> None:
    found = {name: leaks(content, [CANARY]) for name, content in stage.everything().items()}
    assert {name: forms for name, forms in found.items() if forms} == {}


FEW = settings(
    max_examples=max(1, CANARY_TEXTS),
    deadline=None,
    phases=[Phase.explicit, *([Phase.generate] if CANARY_TEXTS else [])],
    suppress_health_check=list(HealthCheck),
)
"""Each example goes through every place there is."""


@FEW
@given(text=TEXTS)
@example(text=CANARY)
def test_no_field_of_any_route_carries_a_key_into_what_is_kept(stage: Stage, text: str) -> None:
    calls = calls_of(stage.client.http.get("/openapi.json").json())
    sent = 0
    for turn, call in enumerate(calls):
        # One piece reads the headers for all routes: with SHARE, each of them goes to a part of the routes.
        for method, path, query, headers, body in call.with_each(text, ANY[turn % SHARE :: SHARE]):
            if method == "DELETE":
                stage.client.http.put(credential(TENANT, "openai"), json={"api_key": "sk-0123456789"})
            raw = {name.encode(): value.encode() for name, value in headers.items()}
            with suppress(httpx.RemoteProtocolError):  # an answer that breaks off stays incomplete
                stage.client.http.request(method, path, params=query, headers=raw, json=body)
            sent += 1
    assert sent > 5 * len(calls) > 150
    assert sum("keyledger.access" in record for record in stage.records) >= sent
    assert_nowhere(stage)


OPAQUE = [uuid4().hex, f"quiet.river.{uuid4().hex[:6]}.seven.stars"]
"""Keys without a shape."""


@pytest.mark.parametrize(
    "key",
    [pytest.param(OPAQUE[0], id="hexadecimal", marks=pytest.mark.long), pytest.param(OPAQUE[1], id="words")],
)
def test_no_field_of_a_change_carries_the_key_that_it_replaces_or_deletes_into_what_is_kept(
    stage: Stage, key: str
) -> None:
    place = "/api/v1/sysadmin/tenants/{tenant_id}/credentials/{provider}"
    calls = [one for one in calls_of(stage.client.http.get("/openapi.json").json()) if one.path == place]
    sent = 0
    for call in calls:
        for method, path, query, headers, body in call.with_each(key, ANY) if call.method in {"PUT", "DELETE"} else ():
            assert stage.client.put(TENANT, "openai", api_key=key).status_code == 200
            raw = {name.encode(): value.encode() for name, value in headers.items()}
            stage.client.http.request(method, path, params=query, headers=raw, json=body)
            sent += 1
    assert sent > 30
    found = {name: leaks(content, [key]) for name, content in stage.everything().items()}
    assert {name: forms for name, forms in found.items() if forms} == {}


def commands() -> Iterator[tuple[list[str], Any]]:
    """Every command with its words."""

    def below(command: Any, words: list[str]) -> Iterator[tuple[list[str], Any]]:
        for name, inner in getattr(command, "commands", {}).items():
            yield from below(inner, [*words, name])
        if not hasattr(command, "commands"):
            yield words, command

    return below(typer.main.get_command(command_line()), [])


GIVEN = {"tenant_id": TENANT, "provider": "openai", "position": "1", "name": "anna", "role": "auditor", "form": "csv"}


def lines_with(text: str) -> Iterator[list[str]]:
    """Each command line that has the text for one of its values, and what else is required."""
    for words, command in commands():
        values = [one for one in command.params if not getattr(one, "is_flag", False)]
        flags = [one.opts[0] for one in command.params if one.name in {"yes", "stdin"}]
        for chosen in values:
            line = [*words, *flags]
            for one in values:
                if one is chosen or one.required:
                    value = text if one is chosen else GIVEN.get(one.name, "x")
                    line += [one.opts[0], value] if one.param_type_name == "option" else [value]
            yield line


@FEW
@given(text=TEXTS)
@example(text=CANARY)
def test_no_option_of_any_command_carries_a_key_into_what_is_kept(
    stage: Stage, text: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    lines, said = list(lines_with(text)), ""
    assert len(lines) > 60
    with pytest.MonkeyPatch.context() as patch:
        for name in set(os.environ) - {"PATH", "HOME", "TMPDIR"}:
            patch.delenv(name)
        for name, value in {
            **BASE,
            "DATABASE_URL": stage.database_url,
            "KEYLEDGER_URL": stage.url,
            "KEYLEDGER_API_KEY": ADMIN_KEY,
        }.items():
            patch.setenv(name, value)
        patch.chdir(tmp_path_factory.mktemp("commands"))
        for line in lines:
            patch.setattr(sys, "stdin", io.StringIO("sk-0123456789"))
            stage.client.http.put(credential(TENANT, "openai"), json={"api_key": "sk-0123456789"})
            out, err = io.StringIO(), io.StringIO()
            with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit):
                main(line)
            if not err.getvalue().startswith("Usage:"):  # the parser of the command line, in its own words
                said += out.getvalue() + err.getvalue()
    assert leaks(said.encode(), [CANARY]) == set()
    assert_nowhere(stage)


@pytest.mark.parametrize("name", [one.name for one in SETTINGS])
@FEW
@given(text=TEXTS)
@example(text=CANARY)
def test_a_setting_takes_no_key_unless_it_is_for_one_and_shows_none(name: str, text: str) -> None:
    try:
        resolved = load({**BASE, name: text}, None)
    except SettingsError as refused:
        shown = "\n".join(refused.lines)
    else:
        assert name.endswith(("_KEY", "_KEY_PREVIOUS", "_URL")), "it is shown in clear"
        shown = "\n".join(one.shown for one in resolved.resolved) + "\n".join(resolved.warnings)
    assert leaks(shown.encode(), [CANARY]) == set()
