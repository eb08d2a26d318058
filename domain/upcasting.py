"""What brings the stored members of an older event to their present shape, one function for each step.

Promises: the log is never rewritten; an event of any released shape is read as if it had been stored today. Golden
files hold the bytes of each shape.
"""

from collections.abc import Callable, Mapping

from domain.event import UNKNOWN

Members = dict[str, object]
Upcaster = Callable[[Members], Members]


def _with_provenance(members: Members) -> Members:
    """Version 1 did not record in which role, from where, from what address and why."""
    return {**members, "role": UNKNOWN, "source": UNKNOWN, "client_address": None, "reason": None}


def _with_fingerprint(members: Members) -> Members:
    return {**_with_provenance(members), "fingerprint": None}


UPCASTERS: Mapping[str, tuple[Upcaster, ...]] = {
    "CredentialSet": (_with_fingerprint,),
    "CredentialReencrypted": (_with_fingerprint,),
    "CredentialDeleted": (_with_provenance,),
    "EncryptionKeyIntroduced": (_with_provenance,),
    "KeyRotationStarted": (_with_provenance,),
    "KeyRotationCompleted": (_with_provenance,),
    "EncryptionKeyRetired": (_with_provenance,),
    "RestoreAccepted": (_with_provenance,),
}
"""By topic, what turns the members of class version 1 into those of 2, of 2 into 3, and so on."""
