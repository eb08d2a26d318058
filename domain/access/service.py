"""Commands on access keys, and what readers see of them.

Promises: when a command returns, the change is stored and every node obeys it. A command takes effect once, however
often its id is sent; when the answer of the database is lost, the stored event is found and not written again. A token
leaves this module once, in the result of the command that made it, or with the error of one that needs a second person;
a repeated command returns the key without a token.
Refuses: names that are reserved or in use, and what `access_key` refuses.
"""

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from domain.access.access_key import (
    AccessKey,
    AccessKeyCreated,
    AccessKeyEvent,
    AccessKeyRevoked,
    AccessKeyRotated,
    AccessTerms,
    change,
    create,
    evolve,
    live,
    revoke,
    rotate,
    stream_of,
)
from domain.access.roles import Role
from domain.access.stream_commands import StreamCommand, StreamCommands, require_precondition
from domain.access.token import digest_of, new_token
from domain.credentials.commands import Precondition
from domain.credentials.key_shapes import holds_key
from domain.credentials.secret import Secret
from domain.errors import AccessError, InvalidField, InvalidRequestError
from domain.events.event import Clock, CommandMeta
from domain.events.event_log import EventLog

NAME_PATTERN = "[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
_NAME = re.compile(NAME_PATTERN)
_ID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_ANY = Precondition()


@dataclass(frozen=True, slots=True)
class Issued:
    """A key after a command. token: only where this command made it, and only now."""

    key: AccessKey
    token: Secret | None = None


class AccessKeyList(Protocol):
    """The access keys of a ledger. Never behind the log. Raises StoreUnavailableError, CredentialIntegrityError."""

    def by_id(self, key_id: UUID) -> AccessKey | None:
        """Return the key with an id, revoked or not; None if there has never been one."""
        ...

    def by_digest(self, digest: str) -> AccessKey | None:
        """Return the key that a token of this digest is, or was before its last rotation."""
        ...

    def page(self, after: str, limit: int) -> Sequence[AccessKey]:
        """Return keys by name, those after a name, revoked ones too."""
        ...


@dataclass(frozen=True, slots=True)
class AccessRules:
    """The operator's rules. max_age: the longest time until a runtime key expires; None if it need not expire.

    reserved: names of keys that are configured elsewhere, and of what the service does itself.
    """

    max_age: timedelta | None = None
    reserved: Collection[str] = ()


class AccessKeys:
    """Carries out commands and reads."""

    def __init__(self, log: EventLog, listed: AccessKeyList, clock: Clock, rules: AccessRules) -> None:
        self._commands = StreamCommands(log, clock, AccessKeyEvent, evolve, "access key")
        self._listed = listed
        self._rules = rules

    def named(self, name_or_id: str) -> AccessKey:
        """Return a key that is not revoked, by its name or its id. Raises NotFoundError."""
        return live(self._listed.by_id(_stream(name_or_id)))

    def page(self, after: str, limit: int) -> Sequence[AccessKey]:
        """Return keys by name, those after a name, revoked ones too."""
        return self._listed.page(after, limit)

    def create(self, name: str, role: Role, terms: AccessTerms, meta: CommandMeta) -> Issued:
        """Make a key. Raises ConflictError, InvalidRequestError, StoreUnavailableError."""
        if error := self._name_error(name):
            raise InvalidRequestError([InvalidField("name", error)])
        token = new_token()
        digest = digest_of(token.reveal().encode())

        def decide(state: AccessKey | None, now: datetime) -> AccessKeyEvent:
            self._require_age(role, terms, now)
            return create(state, name, role, terms, digest, meta, now)

        def same(event: AccessKeyEvent) -> bool:
            made = evolve(event)
            return isinstance(event, AccessKeyCreated) and (made.role, made.terms) == (role, terms)

        with _handing(token):
            return _issued(self._carried_out(stream_of(name), decide, same, meta, _ANY), token, digest)

    def change(self, name_or_id: str, terms: AccessTerms, meta: CommandMeta, precondition: Precondition) -> Issued:
        """Give a key other terms. Raises NotFoundError, VersionConflictError, InvalidRequestError."""

        def decide(state: AccessKey | None, now: datetime) -> AccessKeyEvent | None:
            self._require_age(live(state).role, terms, now)
            return change(state, terms, meta, now)

        def same(event: AccessKeyEvent) -> bool:
            return evolve(event).terms == terms

        return Issued(self._carried_out(_stream(name_or_id), decide, same, meta, precondition))

    def rotate(
        self, name_or_id: str, old_token_until: datetime | None, meta: CommandMeta, precondition: Precondition
    ) -> Issued:
        """Give a key another token. Raises NotFoundError, VersionConflictError, InvalidRequestError."""
        token = new_token()
        digest = digest_of(token.reveal().encode())
        with _handing(token):
            turned = self._carried_out(
                _stream(name_or_id),
                lambda state, now: rotate(state, digest, old_token_until, meta, now),
                lambda event: isinstance(event, AccessKeyRotated) and evolve(event).previous_until == old_token_until,
                meta,
                precondition,
            )
        return _issued(turned, token, digest)

    def revoke(self, name_or_id: str, meta: CommandMeta, precondition: Precondition) -> Issued:
        """Revoke a key. Raises NotFoundError, VersionConflictError."""
        revoked = self._carried_out(
            _stream(name_or_id),
            lambda state, now: revoke(state, meta, now),
            lambda event: isinstance(event, AccessKeyRevoked),
            meta,
            precondition,
        )
        return Issued(revoked)

    def name_of(self, token: Secret) -> str:
        """Return the name of the key whose token this is, or was before its last rotation. Raises NotFoundError."""
        return live(self._listed.by_digest(digest_of(token.reveal().encode()))).name

    def _name_error(self, name: str) -> str | None:
        if not _NAME.fullmatch(name) or _ID.fullmatch(name):
            return (
                "must be 1 to 64 letters, digits, dots, dashes and underscores, begin with a letter or digit, and not"
                " be a UUID"
            )
        if holds_key(name):
            return "must not be an API key: the audit trail shows it in clear"
        return "is the name of a key that the service has from its settings" if name in self._rules.reserved else None

    def _require_age(self, role: Role, terms: AccessTerms, now: datetime) -> None:
        most = self._rules.max_age
        if role is not Role.RUNTIME or most is None:
            return
        if terms.expires_at is None or terms.expires_at > now + most:
            rule = f"is required for runtime keys, at most {most.days} days from now (ACCESS_KEY_MAX_AGE)"
            raise InvalidRequestError([InvalidField("expires_at", rule)])

    def _carried_out(
        self,
        stream: UUID,
        decide: Callable[[AccessKey | None, datetime], AccessKeyEvent | None],
        same: Callable[[AccessKeyEvent], bool],
        meta: CommandMeta,
        precondition: Precondition,
    ) -> AccessKey:
        def require(state: AccessKey | None) -> None:
            known, version = state is not None and not state.revoked, state.version if state is not None else 0
            require_precondition(precondition, version, known=known, what="access key")

        after = self._commands.carry_out(StreamCommand(stream, decide, same, meta, require))
        assert after is not None  # noqa: S101  every command refuses a key that never existed
        return after


@contextmanager
def _handing(token: Secret) -> Iterator[None]:
    """Hand out the token with the error where the key needs a second person: its caller is to have it."""
    try:
        yield
    except AccessError as held:
        held.token = token
        raise


def _issued(key: AccessKey, token: Secret, digest: str) -> Issued:
    """Return a key with the token, unless an earlier request with the same command id made another one."""
    return Issued(key, token if key.digest == digest else None)


def _stream(name_or_id: str) -> UUID:
    return UUID(name_or_id) if _ID.fullmatch(name_or_id) else stream_of(name_or_id)
