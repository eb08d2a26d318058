"""Commands that are decided together, one after the other, before anything of them is stored.

Promises: each comes to what it would have come to alone, after those before it; a command id that was stored, or comes
twice here, leads to one event. A few statements read what is needed for all of them.
Refuses: nothing for all because of one: a refusal is the outcome of its own command.
"""

from collections.abc import Mapping, Sequence
from uuid import UUID

from domain.credentials.credential import (
    Credential,
    CredentialDeleted,
    CredentialSet,
    DeleteCredential,
    SetCredential,
    decide,
    evolve,
    stream_id,
)
from domain.credentials.secret import Sealer
from domain.credentials.stored import CurrentCredentials, Stored
from domain.errors import ErrorCode, InvalidRequestError, ServiceError
from domain.event import Clock, Event
from domain.event_log import EventLog

AdminCommand = SetCredential | DeleteCredential
"""What an administrator may ask for."""

CommandResult = Credential | Exception
"""What became of a command: the state after it, or why there is none."""


class CommandBatch:
    """Commands, and what they lead to once it is decided.

    outcomes: of each command, true once `events` are stored. events: to be stored together, in their order.
    """

    def __init__(self, commands: Sequence[AdminCommand], sealer: Sealer, clock: Clock) -> None:
        self.outcomes: list[CommandResult] = []
        self.events: list[Event] = []
        self._commands = commands
        self._sealer = sealer
        self._clock = clock
        self._unchanged: dict[tuple[str, str], Event] = {}

    def decide(self, log: EventLog, view: CurrentCredentials, *, sent_before: bool) -> None:
        """Decide them on what log and view hold now.

        sent_before: an earlier try may have been stored, so that each is looked for; else only those that may repeat.
        Raises StoreUnavailableError, and CredentialIntegrityError for an event of any of their streams.
        """
        newest = log.newest([_stream(command) for command in self._commands])
        ids = [(_stream(one), one.meta.command_id) for one in self._commands if sent_before or one.meta.may_repeat]
        earlier = log.find_all(ids) if ids else {}
        self._decide(newest, earlier, damaged=frozenset())
        if self._unchanged:
            places = list(self._unchanged)
            shown = zip(places, view.read_all(places), strict=True)
            damaged = frozenset(place for place, row in shown if row != Stored.of(self._unchanged[place]))
            if damaged:  # what readers see there is not what the log says, so that storing the same mends it
                self._decide(newest, earlier, damaged=damaged)

    def _decide(
        self,
        newest: Mapping[UUID, Event],
        earlier: Mapping[tuple[UUID, str], Event],
        damaged: frozenset[tuple[str, str]],
    ) -> None:
        self.outcomes, self.events, self._unchanged = [], [], {}
        last, done = dict(newest), dict(earlier)
        for command in self._commands:
            try:
                self.outcomes.append(self._outcome(command, last, done, damaged))
            except ServiceError as refused:
                # Its traceback leads to this frame, and so to the keys of all commands here.
                self.outcomes.append(refused.with_traceback(None))

    def _outcome(
        self,
        command: AdminCommand,
        last: dict[UUID, Event],
        done: dict[tuple[UUID, str], Event],
        damaged: frozenset[tuple[str, str]],
    ) -> Credential:
        stream, place = _stream(command), (command.tenant_id, command.provider)
        before = done.get((stream, command.meta.command_id))
        if before is not None:
            return self._repeated(before, command)
        known = last.get(stream)
        state = evolve(known) if known is not None else None
        mend = place in damaged and known not in self.events
        events = decide(state, command, self._clock(), self._sealer, mend=mend)
        for event in events:
            last[stream] = done[stream, command.meta.command_id] = event
            self.events.append(event)
        if not events and known is not None and known not in self.events:
            self._unchanged[place] = known
        return evolve(last[stream])

    def _repeated(self, earlier: Event, command: AdminCommand) -> Credential:
        """Answer a command that already happened, when it is the same command."""
        state = evolve(earlier)
        if isinstance(command, DeleteCredential):
            same = isinstance(earlier, CredentialDeleted)
        else:
            same = isinstance(earlier, CredentialSet) and self._same_set(state, command)
        if not same:
            raise command_reused()
        return state

    def _same_set(self, state: Credential, command: SetCredential) -> bool:
        if state.sealed is None or not command.says(state.config):
            return False
        try:
            return self._sealer.open(state.sealed, state.context) == command.secret
        except ServiceError:
            return state.masked_key == command.secret.masked()  # its encryption key may be retired


def _stream(command: AdminCommand) -> UUID:
    return stream_id(command.tenant_id, command.provider)


def command_reused() -> InvalidRequestError:
    """Return the error for an idempotency key that was used for another request on this credential."""
    return InvalidRequestError(
        (),
        ErrorCode.IDEMPOTENCY_KEY_REUSED,
        "This Idempotency-Key was used for a different request. Use a fresh key for a new request.",
    )
