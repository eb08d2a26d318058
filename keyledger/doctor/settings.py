"""The settings: whether the service would start with them, and notes about them."""

from collections.abc import Iterator

from keyledger.doctor.circumstances import Circumstances
from keyledger.doctor.finding import Finding, fault, ok, warning

SUBJECT = "settings"


def look(here: Circumstances) -> Iterator[Finding]:
    """Report every fault and every warning of the settings."""
    for line in here.faults:
        yield fault(SUBJECT, line, "keyledger config check")
    if here.settings is not None:
        for line in here.settings.warnings:
            yield warning(SUBJECT, line, "keyledger config check")
        if named := here.settings.named_keys:
            said = f"API_KEYS has {len(named)} keys, which nothing limits: replace them by access keys"
            yield warning(SUBJECT, f"{said}, and leave such keys for emergencies", "keyledger access create")
        yield ok(SUBJECT, "the service can start with them")
