"""The release of a node, as its row in `nodes` names it: the version of the program and the form of events it reads.

    0.1.0+form.1    SemVer 2.0, with the form as build metadata

Promises: the codes of the row cover both (`keyledger.encryption.node_codes`). A row that names no form reads the first.
"""

import re
from importlib.metadata import version

from domain.audit.event_catalogue import EVENT_FORM
from domain.event_definition import FIRST_FORM

_FORM = re.compile(r"[+.]form\.([1-9][0-9]{0,8})$")


def own_release(form: int = EVENT_FORM) -> str:
    """Return the release of this program. form: the newest form of events that it reads."""
    program = version("keyledger")
    return f"{program}{'.' if '+' in program else '+'}form.{form}"


def form_of(release: str) -> int:
    """Return the newest form of events that a release reads."""
    found = _FORM.search(release)
    return int(found[1]) if found else FIRST_FORM
