"""The encryption keys against the log: whether every live credential can be opened, and which keys nothing needs."""

from collections.abc import Iterator

from keyledger.assembly.start_checks import live_by_key
from keyledger.doctor.circumstances import Circumstances
from keyledger.doctor.finding import Finding, fault, ok, warning

SUBJECT = "encryption keys"


def look(here: Circumstances) -> Iterator[Finding]:
    """Tell which keys are missing and which are left over."""
    ring, live = here.keyring(), live_by_key(here.pool())
    missing = {key_id: count for key_id, count in live.items() if key_id not in ring.key_ids}
    for key_id, count in missing.items():
        said = f"{key_id} is not configured, and {count} live credentials need it"
        tell = warning if here.known_settings().allow_unreadable else fault
        yield tell(SUBJECT, said, f"keyledger credentials find --key-id {key_id}")
    for key_id in sorted(ring.key_ids - set(live) - {ring.primary_id}):
        said = f"{key_id} is configured as a previous key, and no live credential needs it"
        yield warning(SUBJECT, said, f"keyledger keys verify {key_id}")
    if not missing:
        yield ok(SUBJECT, f"every live credential has its key ({sum(live.values())})")
