"""The database: whether it can be reached and used, assumption by assumption, as a start would find it."""

from collections.abc import Iterator

from keyledger.doctor.circumstances import Circumstances
from keyledger.doctor.finding import CheckSkippedError, Finding, State, ok, warning
from keyledger.store_attestation import RoleRule, sentence_of, stands_in_the_way
from projections.database.connection_check import check_connection
from projections.database.findings import Flaw
from projections.database.migration import PRESENT

SUBJECT = "database"


def look(here: Circumstances) -> Iterator[Finding]:
    """Report each assumption that does not hold, with its cause."""
    if here.dsn is None and not here.embedded:
        raise CheckSkippedError("DATABASE_URL is invalid", "keyledger config check")
    if here.dsn is None:
        raise CheckSkippedError(
            "the embedded server is not running; starting the service starts it", "keyledger database start"
        )
    report = check_connection(here.dsn)
    strict = here.settings is not None and here.settings.database_role_strict
    for flawed in (one for one in report.findings if one.flaw is not None):
        if flawed.flaw is Flaw.ROLE and here.embedded:
            continue
        role = RoleRule.REFUSED if strict else RoleRule.NAMED
        state = State.FAULT if stands_in_the_way(flawed, role=role) else State.WARNING
        yield Finding(SUBJECT, state, sentence_of(flawed), "keyledger config check")
    if report.schema is not None and report.schema < PRESENT:
        said = f"the schema is at {report.schema} of {PRESENT}; a start as its owner brings it there"
        yield warning(SUBJECT, said, "keyledger serve")
    held = [one.assumption for one in report.findings if one.flaw is None]
    if held:
        yield ok(SUBJECT, f"in order: {', '.join(held)}")
