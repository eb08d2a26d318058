"""The keys of the service itself: for encryption, for signing checkpoints, and for callers of its API.

Promises: where no error was found, every key is well formed and none is listed twice. Only names, roles and public keys
are shown; no error repeats a key.
Refuses: placeholders.
"""

import base64
import hmac
import re
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256

from api.front.auth import NamedKey, parse_named_key
from api.front.failed_keys import LockoutPolicy
from domain.approvals.listed import DEFAULT_SPAN, ProposalRules
from domain.approvals.needs import Approval, names_of
from domain.credentials.secret import Secret
from keyledger.settings.guessable_keys import why_guessable
from keyledger.settings.sources import SUPER_KEY_ALSO, Sources, hidden, items_of

SUPER_KEY_MIN = 8
_LOCKOUT = LockoutPolicy()
_FERNET_KEY = re.compile(r"[A-Za-z0-9_-]{43}=")
_PRINTABLE = re.compile(r"[\x21-\x7e]+")
_GENERATE = "make one with: keyledger generate-encryption-key"


@dataclass(frozen=True, slots=True)
class EncryptionKeys:
    """The keys of ENCRYPTION_KEY, ENCRYPTION_KEY_NEXT and ENCRYPTION_KEY_PREVIOUS.

    unused: all of them while tenant credentials are off; they still open the ledger's secret and authenticate the
    events of the log.
    """

    primary: Secret | None
    coming: Secret | None
    previous: tuple[Secret, ...]
    unused: tuple[Secret, ...] = ()


def read_encryption_keys(sources: Sources, *, enabled: bool) -> EncryptionKeys:
    """Return the encryption keys; unless `enabled`, as keys that neither seal nor open."""
    primary = sources.secret("ENCRYPTION_KEY", shown=hidden)
    coming = sources.secret("ENCRYPTION_KEY_NEXT", shown=hidden)
    listed = sources.secret("ENCRYPTION_KEY_PREVIOUS", shown=hidden)
    previous = tuple(Secret(item) for item in items_of(listed.reveal() if listed else ""))
    if not enabled:
        found = [key for key in (coming, primary, *previous) if key is not None and _FERNET_KEY.fullmatch(key.reveal())]
        return EncryptionKeys(None, None, (), tuple(found))
    if primary is None and not sources.is_set("ENCRYPTION_KEY"):
        sources.error("ENCRYPTION_KEY", f"is required when TENANT_CREDENTIALS_ENABLED is true; {_GENERATE}")
    seen: dict[bytes, str] = {}
    if primary is not None:
        _check_fernet_key(sources, "ENCRYPTION_KEY", "the value", primary, seen)
    if coming is not None:
        _check_fernet_key(sources, "ENCRYPTION_KEY_NEXT", "the value", coming, seen)
    for number, key in enumerate(previous, start=1):
        _check_fernet_key(sources, "ENCRYPTION_KEY_PREVIOUS", f"key {number}", key, seen)
    return EncryptionKeys(primary, coming, previous)


def _check_fernet_key(sources: Sources, name: str, which: str, key: Secret, seen: dict[bytes, str]) -> None:
    if key.reveal().startswith("<"):
        sources.error(name, f"{which} is a placeholder; {_GENERATE}")
        return
    if not _FERNET_KEY.fullmatch(key.reveal()):
        sources.error(name, f"{which} is not 32 bytes in url-safe base64 (44 characters); {_GENERATE}")
        return
    raw = base64.urlsafe_b64decode(key.reveal())
    if raw in seen:
        sources.error(name, f"{which} is the same as {seen[raw]}; list every key once")
    seen.setdefault(raw, which if name == "ENCRYPTION_KEY_PREVIOUS" else name)


def read_super_key(sources: Sources) -> Secret | None:
    """Return SUPER_API_KEY, or None if it is not set. An invalid key is returned too; its error prevents the start."""
    key = sources.secret("SUPER_API_KEY", also=SUPER_KEY_ALSO, shown=hidden)
    strict = sources.switch("SUPER_API_KEY_STRICT", default=False)
    if key is None:
        return None
    if not _PRINTABLE.fullmatch(key.reveal()) or len(key.reveal()) < SUPER_KEY_MIN:
        sources.error("SUPER_API_KEY", f"must have {SUPER_KEY_MIN} or more printable ASCII characters without spaces")
    elif why := why_guessable(key.reveal()):
        report = sources.error if strict else sources.warn
        report("SUPER_API_KEY", f"{why} and can be guessed; make a random one with: openssl rand -base64 32")
    return key


def read_lockout(sources: Sources) -> LockoutPolicy:
    """Return when an address that sends wrong keys is locked out."""
    return LockoutPolicy(
        sources.whole("AUTH_LOCKOUT_ATTEMPTS", _LOCKOUT.attempts, 0, 100),
        sources.whole("AUTH_LOCKOUT_SECONDS", int(_LOCKOUT.seconds), 1, 3600),
    )


def read_access_key_max_age(sources: Sources) -> timedelta | None:
    """Return within which time runtime access keys have to expire; None where they need not."""
    days = sources.whole("ACCESS_KEY_MAX_AGE", 0, 0, 3650)
    return timedelta(days=days) if days else None


def read_approvals(sources: Sources) -> ProposalRules:
    """Return which commands need a second person, and how long a proposal is open."""
    hours = sources.whole("APPROVAL_HOURS", int(DEFAULT_SPAN / timedelta(hours=1)), 1, 720)
    try:
        named = names_of(sources.text("APPROVALS") or "")
    except ValueError:
        named = frozenset()
        sources.error("APPROVALS", f"must be a list, separated by commas, of {', '.join(Approval)}")
    return ProposalRules(frozenset(named), timedelta(hours=hours))


def read_revoked_calls(sources: Sources) -> bool:
    """Return whether calls under way end when their access key is revoked."""
    return sources.choice("ACCESS_REVOKED_CALLS", ("end", "finish"), "end") == "end"


def read_audit_signing_key(sources: Sources) -> Secret | None:
    """Return AUDIT_SIGNING_KEY, or None where it is not set or invalid."""
    key = sources.secret("AUDIT_SIGNING_KEY", shown=hidden)
    if key is None:
        return None
    from domain.proofs.errors import ProofError
    from keyledger.proofs.signing_keys import LogSigner  # not loaded where nothing is signed

    try:
        signer = LogSigner(key)
    except ProofError as error:  # its text is ours and names the rule
        sources.error("AUDIT_SIGNING_KEY", f"{error}; make one with: keyledger audit generate-signing-key")
        return None
    sources.show_as("AUDIT_SIGNING_KEY", f"*** ({signer.name})")
    return key


def read_named_keys(sources: Sources, super_key: Secret | None) -> tuple[NamedKey, ...]:
    """Return the keys of API_KEYS that are well formed, and compare them with each other and with `super_key`."""
    keys: list[NamedKey] = []
    for number, item in enumerate(items_of(sources.text("API_KEYS") or ""), start=1):
        try:
            keys.append(parse_named_key(item))
        except ValueError as error:  # the message is our own: it names the rule, never the value
            sources.error("API_KEYS", f"entry {number}: {error}")
    for name, count in Counter(key.name for key in keys).items():
        if count > 1:
            sources.error("API_KEYS", f"the name {name} is used {count} times; the audit needs one key for each name")
    if len({key.digest for key in keys}) < len(keys):
        sources.error("API_KEYS", "two names share one key; create another with: keyledger api-keys create")
    super_digest = sha256(super_key.reveal().encode()).hexdigest() if super_key else ""
    if any(hmac.compare_digest(key.digest, super_digest) for key in keys):
        sources.error("API_KEYS", "an entry is the digest of SUPER_API_KEY; create another key")
    sources.show_as("API_KEYS", ", ".join(f"{key.name} ({key.role})" for key in keys))
    if not keys and super_key is None:
        sources.warn("SUPER_API_KEY", "neither it nor API_KEYS is set: every request under /api/ will be refused")
    return tuple(keys)
