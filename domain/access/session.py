"""The session of a person who signed in: its two events, and the decision whether it still admits a request.

Promises: a session is a stream, begun by `PersonSignedIn` and ended by `PersonSignedOut`, so its end is obeyed by every
node with the answer. It counts only through the newest event of the stream, which a holder of the ledger's keys wrote;
until `expires_at`; and as long as the operator's rule that admitted the person is in force, and it and all rules before
it are unchanged, so that a rule put before it to refuse a person is obeyed. Name and subject are personal members.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import ClassVar
from uuid import UUID, uuid5

from domain.access.access_key import AccessTerms
from domain.access.identity import Identity, IdentityRule
from domain.access.roles import Role
from domain.access.scope import DIMENSIONS, Scope, names_of, stored_names
from domain.credentials.admission import TokenRow
from domain.errors import AccessError, CredentialIntegrityError, ErrorCode
from domain.events.event import Clock, CommandMeta, Event, envelope, time_text
from domain.events.event_code import PROVEN, EventCodes, LogRow
from domain.events.event_definition import AUTHENTICATION, LOGOFF, LOGON, ActionDefinition, EventDefinition, Subject

_STREAMS = UUID("c1f3a7de-2b64-5d0b-9a53-70e8d6b1c942")


def stream_of_session(session: str) -> UUID:
    """Return the stream of a session."""
    return uuid5(_STREAMS, session)


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionEvent(Event):
    """An event of a session. session: its id, which admits nothing without the seal of its cookie."""

    session: str

    def own_stream(self) -> UUID:
        """Return the stream of the session."""
        return stream_of_session(self.session)


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonSignedIn(SessionEvent):
    """A person signed in with OpenID Connect. name: as the provider shows it. for_role: the role that the rule gives.

    rule: the digest of that rule and those before it. tenants: those that a claim named; None where the rule says.
    expires_at: a time.
    """

    TOPIC: ClassVar[str] = "PersonSignedIn"
    DEFINITION: ClassVar[EventDefinition] = EventDefinition(
        Subject.SESSION,
        ActionDefinition("signed-in", "a person signs in", LOGON),
        of_person=("name",),
        ocsf_class=AUTHENTICATION,
    )
    name: str
    for_role: str
    rule: str
    tenants: str | None = None
    expires_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonSignedOut(SessionEvent):
    """A person signed out."""

    TOPIC: ClassVar[str] = "PersonSignedOut"
    DEFINITION: ClassVar[EventDefinition] = EventDefinition(
        Subject.SESSION,
        ActionDefinition("signed-out", "a person signs out", LOGOFF),
        removes=True,
        ocsf_class=AUTHENTICATION,
    )


def sign_in(
    session: str,
    name: str,
    identity: Identity,
    rules: Sequence[IdentityRule],
    expires_at: datetime,
    meta: CommandMeta,
    now: datetime,
) -> PersonSignedIn:
    """Return the event that begins a session. rules: those in force, of which one made the identity."""
    digest, rule = next((digest, one) for digest, one in by_digest(rules).items() if one.fits(identity.vouched.claims))
    tenants = identity.terms.scope.tenants if rule.tenants_from is not None else None
    return PersonSignedIn(
        **envelope(stream_of_session(session), 1, meta, now),
        session=session,
        name=name,
        for_role=identity.role.value,
        rule=digest,
        tenants=stored_names(tenants),
        expires_at=time_text(expires_at),
    )


def sign_out(session: str, last: Event | None, meta: CommandMeta, now: datetime) -> PersonSignedOut | None:
    """Return the event that ends a session; None if it has ended, or never began."""
    if not isinstance(last, PersonSignedIn):
        return None
    return PersonSignedOut(**envelope(stream_of_session(session), 2, meta, now), session=session)


def by_digest(rules: Sequence[IdentityRule]) -> Mapping[str, IdentityRule]:
    """Return rules in their order, each by 16 hexadecimal digits that differ where it, or one before it, differs."""
    return {sha256(repr(tuple(rules[:nth])).encode()).hexdigest()[:16]: rule for nth, rule in enumerate(rules, 1)}


@dataclass(frozen=True, slots=True)
class Session:
    """A session that admits requests now. name: of the person in the audit trail."""

    name: str
    role: Role
    terms: AccessTerms


class SessionReader:
    """Reads sessions from the newest events of their streams. codes, decode, clock: as for `KeyReader`."""

    def __init__(self, codes: Callable[[], EventCodes], decode: Callable[[LogRow], Event], clock: Clock) -> None:
        self._codes = codes
        self._decode = decode
        self._clock = clock

    def session_of(self, session: str, actor: str, row: TokenRow | None, rules: Mapping[str, IdentityRule]) -> Session:
        """Return a session. rules: those in force, by digest. Raises AccessError, CredentialIntegrityError."""
        if row is None or row.head is None:
            raise session_ended("is not one of this service")
        if (said := self._codes().check(row.head)) not in PROVEN:
            raise CredentialIntegrityError(f"event-code-{said.value}", what="session")
        event = self._decode(row.head)
        if isinstance(event, PersonSignedOut):
            raise session_ended("was ended")
        if not isinstance(event, PersonSignedIn) or event.session != session:
            raise CredentialIntegrityError("stream-of-something-else", what="session")
        expires_at = datetime.fromisoformat(event.expires_at)
        if self._clock() >= expires_at:
            raise session_ended("has expired")
        rule = rules.get(event.rule)
        if rule is None or rule.role is None:
            raise session_ended("was begun under a rule that is no longer in force")
        members = {name: getattr(rule.scope, name) for name in DIMENSIONS}
        if rule.tenants_from is not None:
            members["tenants"] = names_of(event.tenants)
        return Session(actor, rule.role, AccessTerms(Scope(**members), rule.limits, expires_at))


def session_ended(why: str) -> AccessError:
    """Return the error for a session that admits nothing. why: completes "This session"."""
    return AccessError(ErrorCode.SESSION_ENDED, f"This session {why}. Sign in again: GET /auth/login.")
