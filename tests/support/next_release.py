"""The program of a release to come, which raises the form of events: `CredentialSet` has a class version more.

`python -m tests.support.next_release serve ...` is its command line, in a process of its own. Its members stay the
same, so nothing depends on what they are; this release refuses them all the same, as any class version that it does not
know.
"""

import sys
from dataclasses import replace

from domain.credentials.credential import CredentialSet
from domain.events.event_definition import Members, MembersChange

FORM = 2


def _unchanged(members: Members) -> Members:
    return members


if __name__ == "__main__":
    # Before anything is computed from the definitions.
    CredentialSet.DEFINITION = replace(CredentialSet.DEFINITION, changes=(MembersChange(FORM, _unchanged, _unchanged),))
    from scripts.main import main

    main(sys.argv[1:])
