"""Routes of OpenAI's API that are relayed: completions, moderations, images, audio and rerank.

Promises and refuses: as `untranslated`. The model's name in a request is that of the catalogue; everything else is
between the client and the provider.
"""

import re

from starlette.types import Scope

from api.front.bounds.bounded_use import held_of
from api.front.departure import until_client_leaves
from api.front.exchange import exchange_of
from api.front.paths import OPENAI, UUID_PATTERN, is_relayed, relayed_target, routed_path
from api.front.services import services_in_force
from api.front.upload import Upload
from api.front.validation import RULES
from api.rest.calls.answering import Answering
from api.rest.calls.untranslated import Untranslated
from domain.access.scope import Surface, Wanted
from domain.calls.models import Model
from domain.calls.openai_routes import RelayedCall
from domain.errors import InvalidField, InvalidRequestError

_TENANT = re.compile(UUID_PATTERN)


class Relayed(Untranslated):
    """ASGI middleware that serves relayed routes and passes everything else on."""

    def route_of(self, path: str) -> str | None:
        """Return the route of a request that is served here."""
        return f"{OPENAI}/{relayed_target(path)[1].name}" if is_relayed(path) else None

    def methods_of(self, path: str) -> tuple[str, ...]:
        """Return the one method of a route."""
        return (relayed_target(path)[1].method,)

    async def call(self, scope: Scope, upload: Upload, answering: Answering) -> None:
        """Call the model's provider. Raises ServiceError and HttpError."""
        tenant_id, route = relayed_target(routed_path(scope))
        if not _TENANT.fullmatch(tenant_id):
            raise InvalidRequestError([InvalidField("tenant_id", RULES["tenant_id"])])
        services, admission, held = services_in_force(scope), exchange_of(scope).admission, held_of(scope)
        called: list[str] = []

        def begin(model: Model) -> None:
            if admission is not None:
                admission.asks(
                    Wanted(tenant=tenant_id, provider=model.provider, surface=Surface.OPENAI, model=model.name)
                )
            held.begin_call(tenant_id, model.provider)
            called.append(model.provider)

        call = RelayedCall(
            tenant_id,
            route,
            bytes(scope["query_string"]).decode("latin-1"),
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
