"""The settings: whether a start would take them, and what is worth knowing about them."""

from collections.abc import Iterator

from keyledger.doctor.circumstances import Circumstances
from keyledger.doctor.finding import Finding, fault, ok, warning

SUBJECT = "settings"


def look(here: Circumstances) -> Iterator[Finding]:
    """Tell every fault and every warning of the settings."""
    for line in here.faults:
        yield fault(SUBJECT, line, "keyledger config check")
    if here.settings is not None:
        for line in here.settings.warnings:
            yield warning(SUBJECT, line, "keyledger config check")
        yield ok(SUBJECT, "fit to start with")
