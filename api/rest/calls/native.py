"""Providers' own APIs, called with the tenant's key: requests and answers pass through unchanged.

Promises and refuses: as `untranslated`, and paths that leave the provider's base path. A GET that offers a WebSocket
opens one where the provider has it; until then it is a request like any other, with the same errors.
"""

import re

from starlette.types import Scope

from api.front.bounds.bounded_use import held_of
from api.front.departure import until_client_leaves
from api.front.exchange import exchange_of
from api.front.paths import NATIVE, UUID_PATTERN, is_native, raw_path
from api.front.problems import HttpError
from api.front.services import services_in_force
from api.front.upload import Upload
from api.front.validation import RULES
from api.front.web_socket.handshake import asks_for_web_socket
from api.rest.calls.answering import Answering
from api.rest.calls.opening import Opening
from api.rest.calls.socket_models import SocketModels
from api.rest.calls.untranslated import METHODS, Untranslated
from domain.access.scope import Surface, Wanted
from domain.calls.native import NativeCall
from domain.calls.native_path import normalised_path
from domain.errors import InvalidField, InvalidRequestError

__all__ = ["METHODS", "Native"]

_ADDRESS = re.compile(r"/api/v1/tenants/([^/]+)/providers/([^/]+)(?:/(.*))?", re.DOTALL)
_TENANT = re.compile(UUID_PATTERN)
_NOTHING_HERE = (
    "There is nothing at this address. Put the path of the provider's API after the provider's name, such as "
    ".../providers/openai/v1/models."
)


class Native(Untranslated):
    """ASGI middleware that serves providers' own APIs and passes everything else on."""

    def route_of(self, path: str) -> str | None:
        """Return the route of a request that is served here."""
        return NATIVE if is_native(path) else None

    def check_kind(self, scope: Scope) -> None:
        """Admit WebSockets, too. Raises HttpError."""
        if scope["method"] != "GET" or not asks_for_web_socket(scope["headers"]):
            super().check_kind(scope)

    async def call(self, scope: Scope, upload: Upload, answering: Answering) -> None:
        """Call the provider. Raises ServiceError and HttpError."""
        tenant_id, provider, path = _target(raw_path(scope))
        services = services_in_force(scope)
        row = services.providers.named(provider)  # before anything is counted for it
        admission, method = exchange_of(scope).admission, scope["method"]
        query = bytes(scope["query_string"]).decode("latin-1")
        wanted = Wanted(tenant=tenant_id, provider=provider, surface=Surface.NATIVE, method=method, path=path)
        opening = None
        if asks_for_web_socket(scope["headers"]):
            opening = Opening(scope, SocketModels(wanted, query, row, services.models, admission))
            wanted = opening.models.wanted
        if admission is not None:
            admission.asks(wanted)
        held = held_of(scope)
        held.begin_call(tenant_id, provider)
        body = await upload.open(held.take_bytes)
        call = NativeCall(tenant_id, provider, method, path, query, scope["headers"], body, upload.length, admission)
        if opening is not None:
            await opening.serve(services.native.connect(call, opening.offer), upload, answering, self)
            return
        served = self.serve(services.native.call(call), upload, answering, lambda: provider, method)
        await until_client_leaves(upload.after_end, served)


def _target(raw: str) -> tuple[str, str, str]:
    """Return tenant, provider and normalised path. Raises HttpError, InvalidRequestError."""
    address = _ADDRESS.fullmatch(raw)
    if address is None:
        raise HttpError("not-found", _NOTHING_HERE)
    tenant_id, provider, path = address.groups()
    if not _TENANT.fullmatch(tenant_id):
        raise InvalidRequestError([InvalidField("tenant_id", RULES["tenant_id"])])
    if not path:
        raise HttpError("not-found", _NOTHING_HERE)
    return tenant_id, provider, normalised_path(path)
