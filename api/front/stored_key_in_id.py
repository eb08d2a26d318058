"""Keeps the key that a request replaces or deletes out of the id of that request.

The id is logged, recorded and echoed. A change that is carried out compares it with the stored key on the way
(`credential.decide`); a change that is refused does so here.
Promises: only a request of a caller who may replace or delete the credential is compared, so no one else can guess at
its key. Where the stored key cannot be read, or the service refuses for its load, the id is replaced unseen.
"""

from starlette.concurrency import run_in_threadpool
from starlette.types import Scope

from api.front.auth import may
from api.front.exchange import Exchange, exchange_of
from api.front.paths import credential_in, routed_path
from api.front.services import Services, services_in_force
from domain.credentials.secret import mask
from domain.errors import ServiceError

_CHANGES = frozenset({"PUT", "DELETE"})
_UNSEEN = frozenset({408, 429, 500, 503})
"""Statuses of problems for which the database is not asked again."""


def take_recorded_id(exchange: Exchange, recorded: str | None) -> None:
    """Replace the id of a request that was carried out or proposed, if it was recorded as its mask."""
    if exchange.chosen_id and recorded == mask(exchange.request_id):
        exchange.replace_id()


async def keep_stored_key_out(scope: Scope, status: int) -> None:
    """Replace the id of a change of a credential that is refused, if it may hold the stored key."""
    exchange, path = exchange_of(scope), routed_path(scope)
    place = credential_in(path)
    if not exchange.chosen_id or place is None or scope["method"] not in _CHANGES:
        return
    if exchange.actor is None or not may(exchange.actor.role, scope["method"], path):
        return
    if status in _UNSEEN or await run_in_threadpool(_may_hold, services_in_force(scope), *place, exchange.request_id):
        exchange.replace_id()


def _may_hold(services: Services, tenant_id: str, provider: str, text: str) -> bool:
    try:
        return services.credentials.stored_key_is_in(tenant_id, provider, text)
    except ServiceError:
        return True
