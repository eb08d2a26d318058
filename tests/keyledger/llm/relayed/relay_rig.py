"""A relay with a model for each provider, and a recording provider."""

import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

from domain.calls.models import Adapter, Model, ModelKind
from domain.calls.native import Body, NativeAnswer
from domain.calls.native_rules import NativeRules, OpenedRoute
from domain.calls.openai_routes import RelayedCall, routes_at
from domain.credentials.built_in_providers import BUILT_IN
from domain.credentials.providers import Providers
from domain.credentials.resolution import Route
from domain.endpoints.rules import EndpointRules
from keyledger.llm import CallConfiguration, PassThrough, Relay, Timeouts
from keyledger.settings.ai_models import Catalogue
from tests.keyledger.llm.rig import TENANT, Keys
from tests.support.meter import ListeningMeter
from tests.support.native_provider import Heard, NativeProvider

JSON = ((b"content-type", b"application/json"),)
FORM = ((b"content-type", b"multipart/form-data; boundary=B"),)


class KeysOfPolicy(Keys):
    """Resolves every provider that ships."""

    @property
    def providers(self) -> Providers:
        return BUILT_IN

    async def explain(self, tenant_id: str, provider: str, *, tenant_capable: bool) -> Route:
        route = await super().explain(tenant_id, provider, tenant_capable=tenant_capable)
        return replace(route, base_url=self.url + place_of(provider))


def place_of(provider: str) -> str:
    """The path of a provider's address on the stand-in, which ends like that of its own."""
    return f"/{provider}{urlsplit(BUILT_IN[provider].base_url or '').path}"


def target_of(provider: str, path: str, query: str = "") -> str:
    """The target of a request to a path of a provider."""
    group = "responses" if path.startswith("responses/") else path
    moved = dict(BUILT_IN[provider].elsewhere).get(group)
    if provider == "azure":
        deployed = "" if path.partition("/")[0] in {"responses", "files", "batches"} else "deployments/dep-1/"
        version = "api-version=2024-10-21"
        return f"/azure/openai/{deployed}{path}?{version}{'&' if query else ''}{query}"
    asked = f"?{query}" if query else ""
    if moved is not None:
        return f"/{provider}/{moved}{path.removeprefix(group)}{asked}"
    return f"{place_of(provider)}{'/v1' if provider == 'vllm' else ''}/{path}{asked}"


def catalogue() -> Catalogue:
    """For each provider a model `our-<provider>`, called `up/<provider>` there; and one of each other kind."""
    return Catalogue(
        "test_models.yml",
        tuple(Model(f"our-{name}", ModelKind.COMPLETION, name, Adapter.LITELLM, f"up/{name}") for name in BUILT_IN)
        + tuple(Model(f"our-{kind.value}", kind, "openai", Adapter.LITELLM, f"up-{kind.value}") for kind in ModelKind)
        + (Model("our-legacy", ModelKind.COMPLETION, "openai", Adapter.LEGACY, "up-legacy"),),
    )


@dataclass
class Rig:
    """Relayed calls, each in an event loop of its own. opened: to the platform's key, as operators write it."""

    provider: NativeProvider
    keys: type[Keys] = KeysOfPolicy
    opened: tuple[str, ...] = ()
    meter: ListeningMeter = field(default_factory=ListeningMeter)

    def run(self, call: RelayedCall) -> tuple[NativeAnswer | Exception, bytes, Exception | None]:
        """Make a call. Return its answer, the answer's body, and the error with which that ended."""

        async def one() -> tuple[NativeAnswer | Exception, bytes, Exception | None]:
            rules = NativeRules(tuple(OpenedRoute.read(one, BUILT_IN) for one in self.opened))
            configuration = CallConfiguration(catalogue(), self.keys(self.provider.url), EndpointRules(), rules)
            apis = PassThrough(lambda: configuration, Timeouts(connect=5, answer=10), meter=self.meter)
            try:
                answer = await Relay(lambda: configuration, apis).call(call)
                return answer, *await _body_of(answer)
            except Exception as error:  # noqa: BLE001  the test looks at it
                return error, b"", None
            finally:
                await apis.stop()

        return asyncio.run(one())

    def sent(self, call: RelayedCall) -> Heard:
        """Make a call that is sent, and return the request that the provider received."""
        self.provider.heard.clear()
        answer, _, _ = self.run(call)
        assert isinstance(answer, NativeAnswer), answer
        (heard,) = self.provider.heard
        return heard

    def refused(self, call: RelayedCall) -> Any:
        """Make a call that is refused, and return the error; the provider must not have received anything."""
        self.provider.heard.clear()
        outcome, _, _ = self.run(call)
        assert isinstance(outcome, Exception), outcome
        assert self.provider.heard == []
        return outcome


async def _body_of(answer: NativeAnswer) -> tuple[bytes, Exception | None]:
    if answer.pieces is None:
        return answer.whole or b"", None
    pieces: list[bytes] = []
    try:
        while (piece := await answer.pieces.next()) is not None:
            pieces.append(piece)
    except Exception as error:  # noqa: BLE001  the test looks at it
        return b"".join(pieces), error
    finally:
        with suppress(Exception):
            answer.pieces.drop()
    return b"".join(pieces), None


def asking(route: str, body: Any, headers: Sequence[tuple[bytes, bytes]] = JSON, **more: Any) -> RelayedCall:
    """Return a call of a route. body: bytes and bodies in pieces go as they are."""
    sent: bytes | Body = json.dumps(body).encode() if isinstance(body, dict) else body
    return RelayedCall(TENANT, routes_at(route)["POST"], route, headers=headers, body=sent, **more)


def reaching(method: str, path: str, provider: str | None = "openai", **more: Any) -> RelayedCall:
    """Return a call of a route without a model."""
    return RelayedCall(TENANT, routes_at(path)[method], path, provider, **more)


def form(*fields: tuple[str, bytes]) -> bytes:
    """Return a multipart body. A name that begins with `@` is a file's."""
    parts = []
    for name, content in fields:
        file = b'; filename="a.wav"\r\nContent-Type: audio/wav' if name.startswith("@") else b""
        head = b'--B\r\nContent-Disposition: form-data; name="%s"' % name.lstrip("@").encode()
        parts.append(head + file + b"\r\n\r\n" + content + b"\r\n")
    return b"".join(parts) + b"--B--\r\n"
