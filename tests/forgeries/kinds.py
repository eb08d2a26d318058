"""The register of forgeries: one entry for each kind, with who can do it and what must become of it."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from tests.support.deployment import Place
from tests.support.examination import Finding, positions_in
from tests.support.forger import By, Forger


class Must(Enum):
    """The result that a forgery must have.

    FOUND: something notices it and says where. HARMLESS: calls use the same keys, auditors read the same, and
    no work of an operator is held up; what notices it all the same says where it is.
    """

    FOUND = "found"
    HARMLESS = "harmless"


@dataclass(frozen=True)
class Where:
    """The place of a forgery: a position, a tenant's provider, or a thing that one of `words` names.

    A finding fits if it gives any of the three.
    """

    position: int | None = None
    place: Place | None = None
    words: tuple[str, ...] = ()

    def fits(self, finding: Finding) -> bool:
        at = {finding.position, *positions_in(finding.text)} - {None}
        return (
            (self.position is not None and self.position in at)
            or (self.place is not None and finding.place == self.place)
            or any(re.search(rf"\b{re.escape(word)}\b", finding.text, re.IGNORECASE) for word in self.words)
        )


Forge = Callable[[Forger], Where]


@dataclass(frozen=True)
class Kind:
    """One kind of forgery.

    refusable: the database may refuse it, and then nothing was forged. uses: what a call uses may change before the
    forgery is noticed, because an older state of everything is as good as a newer one to a single statement.
    unaided: the service itself has to notice, with no auditor's checkpoint and no `keyledger verify` to help.
    restricted: concerns only a service that has the rights of the serving role.
    """

    name: str
    by: By
    must: Must
    forge: Forge
    refusable: bool = False
    uses: bool = False
    unaided: bool = False
    restricted: bool = False

    def __str__(self) -> str:
        return f"{self.name}, by {self.by.value}"


KINDS: list[Kind] = []
BOTH = (By.SUPERUSER, By.APPLICATION)
SUPERUSER = (By.SUPERUSER,)
APPLICATION = (By.APPLICATION,)


def kind(name: str, by: tuple[By, ...] = SUPERUSER, must: Must = Must.FOUND, **more: bool) -> Callable[[Forge], Forge]:
    """Register a kind under its name. more: the last members of `Kind`."""

    def register(forge: Forge) -> Forge:
        KINDS.extend(Kind(name, one, must, forge, **more) for one in by)
        return forge

    return register


THE_LOG = ("rolled back", "rewritten", "went back", "signed over", "recorded outside", "those of the older checkpoint")
"""Phrases that report a difference between the log and what is known about it outside the database."""
