"""Routes of OpenAI's API that are relayed: responses, completions, images, audio, files and so on.

Promises and refuses: as `untranslated`. The model's name in a request is that of the catalogue; everything else is
between the client and the provider. A request without a model names its provider in the query.
"""

import re

from starlette.types import Scope

from api.front.bounds.bounded_use import held_of
from api.front.departure import until_client_leaves
from api.front.exchange import exchange_of
from api.front.head import with_head
from api.front.paths import OPENAI, UUID_PATTERN, is_relayed, relayed_target, routed_path
from api.front.services import services_in_force
from api.front.upload import Upload
from api.front.validation import RULES
from api.rest.calls.answering import Answering
from api.rest.calls.untranslated import Untranslated
from domain.access.scope import Surface, Wanted
from domain.calls.models import Model
from domain.calls.openai_routes import RelayedCall, routes_at
from domain.credentials.providers import NAME_PATTERN
from domain.errors import InvalidField, InvalidRequestError

_TENANT = re.compile(UUID_PATTERN)


_PROVIDER = re.compile(f"provider=({NAME_PATTERN})")


class Relayed(Untranslated):
    """ASGI middleware that serves relayed routes and passes everything else on."""

    def route_of(self, path: str) -> str | None:
        """Return the route of a request that is served here."""
        if not is_relayed(path):
            return None
        return f"{OPENAI}/{next(iter(routes_at(relayed_target(path)[1]).values())).path}"

    def methods_of(self, path: str) -> tuple[str, ...]:
        """Return the methods of the routes at a path."""
        return tuple(sorted(with_head(set(routes_at(relayed_target(path)[1])))))

    async def call(self, scope: Scope, upload: Upload, answering: Answering) -> None:
        """Call the provider of the model, or the one that is named. Raises ServiceError and HttpError."""
        tenant_id, path = relayed_target(routed_path(scope))
        if not _TENANT.fullmatch(tenant_id):
            raise InvalidRequestError([InvalidField("tenant_id", RULES["tenant_id"])])
        services, admission, held = services_in_force(scope), exchange_of(scope).admission, held_of(scope)
        called: list[str] = []

        def begin(provider: str, model: Model | None) -> None:
            if admission is not None:
                name = None if model is None else model.name
                admission.asks(Wanted(tenant=tenant_id, provider=provider, surface=Surface.OPENAI, model=name))
            held.begin_call(tenant_id, provider)
            called.append(provider)

        query, provider = _without_provider(bytes(scope["query_string"]).decode("latin-1"))
        call = RelayedCall(
            tenant_id,
            routes_at(path)[scope["method"]],
            path,
            provider,
            query,
            scope["headers"],
            await upload.open(held.take_bytes),
            upload.length,
            admission,
            begin,
            held.take_bytes,
        )
        answer = services.relayed.call(call)
        served = self.serve(answer, upload, answering, lambda: called[0] if called else None, scope["method"])
        await until_client_leaves(upload.after_end, served)


def _without_provider(query: str) -> tuple[str, str | None]:
    """Return a query without its parameter `provider`, and the name that has it. Raises InvalidRequestError."""
    parts = query.split("&")
    names = [part for part in parts if part.partition("=")[0] == "provider"]
    if not names:
        return query, None
    found = _PROVIDER.fullmatch(names[0])
    if len(names) > 1 or found is None:
        raise InvalidRequestError([InvalidField("provider", "must be the name of a provider, once in the query")])
    return "&".join(part for part in parts if part not in names), found[1]
