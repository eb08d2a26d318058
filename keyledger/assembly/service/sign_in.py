"""Signing in, put together: what outlives a reload, and what is made for each configuration."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from api.front.combined_writes import CombinedWrites
from api.front.no_people import NoPeople
from api.front.people import People
from domain.access.identity import Issuer
from domain.access.session import SessionReader, stream_of_session
from domain.errors import ServiceError
from domain.event_codec import event_of
from domain.events.event import utc_now
from domain.events.event_code import LogRow
from keyledger.assembly import people
from keyledger.identity.people import OpenIdPeople, SessionLog, SignInRules
from keyledger.log.event_store import CredentialLog
from keyledger.log.node_lease import NodeLease
from keyledger.settings.settings import Settings
from projections.database.pipelines import Pipelines
from projections.stream_heads import StreamHeads

if TYPE_CHECKING:
    from keyledger.assembly.service.lasting import Lasting

Write = Callable[[], None]


def session_log(log: CredentialLog, pipelines: Pipelines, lease: NodeLease, known: people.People) -> SessionLog:
    """Return how sessions are kept, for all configurations."""
    heads = StreamHeads(pipelines.calls, lease.require)

    async def head_of(session: str) -> LogRow | None:
        return await heads.read(stream_of_session(session))

    reader = SessionReader(lambda: log.codes, event_of, utc_now)
    write = CombinedWrites[Write, None](lambda: _each_alone, lease.obeyed).write
    return SessionLog(log, head_of, reader, write, known.secret)


def people_in_force(lasting: "Lasting", settings: Settings) -> People:
    """Return who signs people in under a configuration."""
    at, told = settings.identity.sign_in, settings.identity.people
    if at is None or told is None:
        return NoPeople()
    issuer = Issuer(
        "people", at.issuer, (at.client_id,), told.algorithms, told.rules, ca_file=told.ca_file, skew_s=told.skew_s
    )
    rules = SignInRules(
        issuer, at.client_id, at.client_secret, at.redirect_url, told.scopes, told.name_claim, told.session_s
    )
    keys = lasting.issuer_keys.of(issuer, settings.endpoint_rules)
    return OpenIdPeople(rules, keys, lasting.sessions, lasting.clock)


def _each_alone(writes: Sequence[Write]) -> list[Exception | None]:
    return [_outcome(write) for write in writes]


def _outcome(write: Write) -> Exception | None:
    try:
        write()
    except ServiceError as refused:
        return refused
    return None
