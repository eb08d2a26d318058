"""The ways in which a database contradicts what is known of its ledger, each as a text for people.

Promises: `detail` says what is wrong and what it means, for the operator; `short` reveals nothing confidential, for
`/readyz`; `remedy` says what to do. Only an operator can judge whether a log should be accepted, and only a log can be:
a projection that is wrong is computed again.
"""

from dataclasses import dataclass
from enum import Enum, auto


class Kind(Enum):
    """The kinds of contradiction."""

    OTHER_LEDGER = auto()
    SHORTER = auto()
    REWRITTEN = auto()
    PROJECTION_AHEAD = auto()
    POSITION_MOVED = auto()
    ENTRIES_MISSING = auto()
    CREDENTIALS_AHEAD = auto()
    UNPROVEN = auto()


@dataclass(frozen=True, slots=True)
class Contradiction:
    """One contradiction.

    recorded: the position that was known, or a number of rows. head: the present end of the
    log, or of the rows of a projection. where: what knew it, such as DATA_DIR. known_ledger, present_ledger: what
    differs, if the ledgers do. projection: the one that is wrong.
    """

    kind: Kind
    recorded: int
    head: int
    where: str = "DATA_DIR"
    known_ledger: str | None = None
    present_ledger: str | None = None
    projection: str = ""

    @property
    def acceptable(self) -> bool:
        """Whether `keyledger restore accept` is the way to continue."""
        return self.kind in {Kind.OTHER_LEDGER, Kind.SHORTER, Kind.REWRITTEN}

    @property
    def detail(self) -> str:
        """The contradiction and its meaning, as a sentence without its full stop."""
        return _DETAILS[self.kind].format(it=self, present=self.present_ledger or "no ledger")

    @property
    def remedy(self) -> str:
        """The next steps of an operator, as sentences without the last full stop."""
        if self.kind is Kind.OTHER_LEDGER:
            return (
                f"Each ledger needs a {self.where} of its own: if this is the database you mean, set {self.where} to"
                " another folder. If the database was replaced on purpose, accept it with: keyledger restore accept"
            )
        if self.acceptable:
            return (
                "Later events are lost: restore a newer backup, or accept the log as it is with: keyledger restore"
                " accept"
            )
        return (
            "Find out who changed it, and compute it again from the log with: keyledger replay --projection"
            f" {self.projection} --yes"
        )

    @property
    def short(self) -> str:
        """The contradiction in a few words."""
        return _SHORT[self.kind].format(it=self)


_DETAILS = {
    Kind.OTHER_LEDGER: "{it.where} belongs to the ledger {it.known_ledger}, but the database holds {present}",
    Kind.SHORTER: "the log ends at position {it.head}, but position {it.recorded} was recorded outside the database, in"
    " {it.where}: an older backup was restored, or events were removed",
    Kind.REWRITTEN: "the log up to position {it.recorded} is not the one that was recorded outside the database, in"
    " {it.where}, and it continues to position {it.head}: an older backup was restored and written to, or the log was"
    " rewritten",
    Kind.PROJECTION_AHEAD: "the projection {it.projection} claims to show position {it.recorded}, but the log ends at"
    " {it.head}: it was changed, and new events would never reach it",
    Kind.POSITION_MOVED: "the projection {it.projection} claims to show position {it.recorded}, but its rows end at"
    " {it.head}: its position was changed, or rows were added or removed",
    Kind.ENTRIES_MISSING: "{it.recorded} of the last entries of the projection {it.projection} are missing: they were"
    " removed, or its position was changed",
    Kind.CREDENTIALS_AHEAD: "{it.recorded} rows of {it.projection} are at versions that the log does not have: they"
    " were changed, or events were removed",
    Kind.UNPROVEN: "the hash tree covered {it.recorded} events and covers fewer now: it was emptied, and has to be"
    " computed again before the log can be compared with {it.where}",
}
_SHORT = {
    Kind.OTHER_LEDGER: "is that of another ledger than the one recorded in {it.where}; an operator has to investigate",
    Kind.SHORTER: "went back: position {it.recorded} was recorded in {it.where}, the end is at {it.head}; an operator"
    " has to investigate",
    Kind.REWRITTEN: "was rewritten: position {it.recorded} was recorded in {it.where}, the end is at {it.head}; an"
    " operator has to investigate",
    Kind.PROJECTION_AHEAD: "ends at {it.head}, but {it.projection} claims position {it.recorded}; an operator has to"
    " investigate",
    Kind.POSITION_MOVED: "is not shown as {it.projection} claims: at position {it.recorded}, but its rows end at"
    " {it.head}; an operator has to investigate",
    Kind.ENTRIES_MISSING: "lacks {it.recorded} of the last entries of {it.projection}; an operator has to investigate",
    Kind.CREDENTIALS_AHEAD: "lacks the versions of {it.recorded} credentials; an operator has to investigate",
    Kind.UNPROVEN: "ends at {it.head}; its hash tree is being computed again, up to {it.recorded}",
}
