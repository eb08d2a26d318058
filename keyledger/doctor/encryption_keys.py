"""The encryption keys against the log: whether every key in use is configured, and which are no longer needed."""

from collections.abc import Iterator

from keyledger.assembly.checks.start_checks import live_by_key
from keyledger.doctor.circumstances import Circumstances
from keyledger.doctor.finding import Finding, fault, ok, warning

SUBJECT = "encryption keys"


def look(here: Circumstances) -> Iterator[Finding]:
    """Report which keys are missing and which are no longer needed."""
    ring, live = here.keyring(), live_by_key(here.pool())
    missing = {key_id: count for key_id, count in live.items() if key_id not in ring.key_ids}
    for key_id, count in missing.items():
        said = f"{key_id} is not configured, but {count} live credentials need it"
        tell = warning if here.known_settings().allow_unreadable else fault
        yield tell(SUBJECT, said, f"keyledger credentials find --key-id {key_id}")
    for key_id in sorted(ring.key_ids - set(live) - {ring.primary_id}):
        said = f"{key_id} is configured as a previous key, but no live credential needs it"
        yield warning(SUBJECT, said, f"keyledger keys verify {key_id}")
    if not missing:
        yield ok(SUBJECT, f"the key of every live credential is configured ({sum(live.values())})")
