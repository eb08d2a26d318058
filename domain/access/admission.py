"""Decides whether an access key admits a request, on what one statement read of its token.

Promises: a token counts only through the newest event of its key, which a holder of the ledger's keys wrote and which
names the token's digest. A row of the projection that was changed, put back or pointed elsewhere is an integrity error.
A revoked key, an expired one, and a token whose overlap has ended admit nothing. Deciding happens once for a request,
on what was read during it; nothing that was read earlier admits anything.
Refuses: every key on a node without a key of the ledger, since it could not recognise a forged one.
"""

from collections.abc import Callable

from domain.access.access_key import AccessKey, AccessKeyEvent, evolve
from domain.access.scope import Scope, Wanted
from domain.credentials.admission import TokenRow
from domain.errors import AccessError, CredentialIntegrityError, ErrorCode
from domain.events.event import Clock, Event, time_text
from domain.events.event_code import PROVEN, EventCodes, LogRow

_REMEDY = "Ask an administrator for another."


class KeyReader:
    """Reads keys from rows, and checks them. codes: check events. decode: returns the event of a row of the log."""

    def __init__(self, codes: Callable[[], EventCodes], decode: Callable[[LogRow], Event], clock: Clock) -> None:
        self._codes = codes
        self._decode = decode
        self._clock = clock

    def key_of(self, row: TokenRow) -> AccessKey:
        """Return the key that a row shows. Raises CredentialIntegrityError if row and log disagree."""
        if row.head is None:
            raise _damaged("stream-missing")
        if (said := self._codes().check(row.head)) not in PROVEN:
            raise _damaged(f"event-code-{said.value}")
        event = self._decode(row.head)
        if not isinstance(event, AccessKeyEvent):
            raise _damaged("stream-of-something-else")
        if (row.version, row.digest, row.previous) != (
            event.originator_version,
            event.token_sha256,
            event.previous_sha256,
        ):
            raise _damaged("view-not-at-head")
        try:
            return evolve(event)
        except ValueError:
            raise _damaged("event-malformed") from None

    def usable(self, digest: str, row: TokenRow | None) -> AccessKey:
        """Return the key that a token may be used for now. Raises AccessError, CredentialIntegrityError."""
        if row is None:
            raise AccessError(ErrorCode.ACCESS_KEY_REFUSED, f"There is no such access key. {_REMEDY}")
        key, now = self.key_of(row), self._clock()
        if key.revoked:
            raise _refused(f"was revoked at {time_text(key.changed_at)}")
        if not key.admits(digest, now):
            raise _refused("was rotated, and the time for its former token has ended")
        if key.is_expired(now):
            raise _refused("has expired")
        return key


def require_within(scope: Scope, wanted: Wanted) -> None:
    """Raise AccessError for a request outside a scope."""
    if (error := scope.error(wanted)) is not None:
        raise AccessError(ErrorCode.OUTSIDE_SCOPE, error)


def _refused(why: str) -> AccessError:
    return AccessError(ErrorCode.ACCESS_KEY_REFUSED, f"This access key {why}. {_REMEDY}")


def _damaged(reason: str) -> CredentialIntegrityError:
    return CredentialIntegrityError(reason, what="access key")
