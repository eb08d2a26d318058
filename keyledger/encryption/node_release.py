"""The release of a node, as its row in `nodes` names it: the version of the program, the form of events it reads, and
the commands for which its APPROVALS wants a second person.

    0.1.0+form.1                        SemVer 2.0, with the form as build metadata
    0.1.0+approvals.delete.form.1       and with APPROVALS=delete

Promises: the codes of the row cover all of it (`keyledger.encryption.node_codes`). Programs that do not know
`approvals` still read the form. A row that names no form reads the first.
"""

import re
from collections.abc import Collection
from importlib.metadata import version

from domain.approvals.needs import Approval
from domain.audit.event_catalogue import EVENT_FORM
from domain.events.event_definition import FIRST_FORM

_FORM = re.compile(r"[+.]form\.([1-9][0-9]{0,8})$")
_APPROVALS = re.compile(r"(?<=[+.])approvals\.((?:[a-z-]+\.)+)(?=form\.)")


def own_release(form: int = EVENT_FORM) -> str:
    """Return the release of this program. form: the newest form of events that it reads."""
    program = version("keyledger")
    return f"{program}{'.' if '+' in program else '+'}form.{form}"


def form_of(release: str) -> int:
    """Return the newest form of events that a release reads."""
    found = _FORM.search(release)
    return int(found[1]) if found else FIRST_FORM


def naming(release: str, approvals: Collection[Approval]) -> str:
    """Return a release that names the commands of APPROVALS, too."""
    if not approvals:
        return release
    program, _, form = release.rpartition("form.")
    return f"{program}approvals.{'.'.join(sorted(approvals))}.form.{form}"


def approvals_of(release: str) -> frozenset[Approval]:
    """Return the commands that a release names; those that this program does not know are left out."""
    found = _APPROVALS.search(release)
    words = found[1].split(".") if found else []
    return frozenset(one for one in Approval if one in words)


def without_approvals(release: str) -> str:
    """Return a release as it is whatever APPROVALS names."""
    return _APPROVALS.sub("", release)
