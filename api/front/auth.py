"""Authentication and authorisation of callers.

Promises: a key is known only by the SHA-256 of its bytes and compared in constant time against every configured key,
found or not, so timing reveals nothing; a request that no grant covers is denied, unknown paths and methods included.
Refuses: blank keys, names that are not a plain token or look like a key, the reserved name of the super key.
"""

import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from domain.access.roles import Role
from domain.audit.request_events import ANONYMOUS, SEVERAL
from domain.credentials.key_shapes import holds_key
from domain.credentials.secret import Secret
from domain.events.event import SERVICE, UNKNOWN

SUPER_ACTOR = "super"
ROLES = tuple(role for role in Role if role is not Role.TENANT_ADMIN)
"""The roles of keys in settings. A tenant-admin looks after some tenants, which only an access key names."""
READ = frozenset({"GET", "HEAD"})
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_FORM = "name:role:sha256:<64 hexadecimal digits>"


@dataclass(frozen=True, slots=True)
class Actor:
    """The caller of a request. The audit trail shows the name.

    external: an issuer vouches for the caller, so the name may be that of a person, and no log shows it.
    """

    name: str
    role: Role
    external: bool = False


@dataclass(frozen=True, slots=True)
class NamedKey:
    """A configured key. `digest`: the SHA-256 of the key's bytes, 64 lower-case hexadecimal digits."""

    name: str
    role: Role
    digest: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Grant:
    """Requests that some roles may make. `methods` None: every method."""

    path: re.Pattern[str]
    methods: frozenset[str] | None
    roles: frozenset[Role]


_FLEET = "/api/v1/sysadmin/(tenants|credentials)"
_TENANT = "/api/v1/sysadmin/tenants/[^/]+"
_OWN = "/api/v1/tenants/[^/]+"
_KEYS = "/api/v1/sysadmin/encryption-keys"
_ACCESS_KEYS = "/api/v1/sysadmin/access-keys"
_PROPOSALS = "/api/v1/sysadmin/proposals"
_PROJECTIONS = "/api/v1/sysadmin/projections"
GRANTS: Sequence[Grant] = (
    Grant(re.compile(f"{_ACCESS_KEYS}(/[^/]+(/usage)?)?"), READ, frozenset({Role.AUDITOR, Role.OPERATOR})),
    Grant(re.compile(f"{_PROPOSALS}(/[^/]+)?"), READ, frozenset({Role.AUDITOR})),
    Grant(re.compile(_FLEET), READ, frozenset({Role.AUDITOR, Role.OPERATOR})),
    Grant(re.compile(f"{_TENANT}(/policy)?"), READ, frozenset({Role.AUDITOR, Role.OPERATOR})),
    Grant(re.compile(f"{_TENANT}/credentials(/[^/]+)?"), READ, frozenset({Role.AUDITOR, Role.OPERATOR})),
    Grant(re.compile(f"{_TENANT}/credentials/[^/]+/history"), READ, frozenset({Role.AUDITOR})),
    Grant(re.compile(f"{_TENANT}/resolution"), READ, frozenset({Role.AUDITOR, Role.OPERATOR})),
    Grant(re.compile(f"{_KEYS}(/rotations(/[^/]+(/events)?)?)?"), READ, frozenset({Role.AUDITOR, Role.OPERATOR})),
    Grant(re.compile(f"{_KEYS}/rotations(/[^/]+/cancel)?"), frozenset({"POST"}), frozenset({Role.OPERATOR})),
    Grant(re.compile(f"{_PROJECTIONS}(/[^/]+/replays/[^/]+)?"), READ, frozenset({Role.OPERATOR})),
    Grant(re.compile(f"{_PROJECTIONS}/[^/]+/replays"), frozenset({"POST"}), frozenset({Role.OPERATOR})),
    Grant(re.compile("/api/v1/reload"), frozenset({"POST"}), frozenset({Role.OPERATOR})),
    Grant(re.compile("/api/v1/audit/.*"), READ, frozenset({Role.AUDITOR})),
    Grant(re.compile(f"{_OWN}/credentials/[^/]+"), READ | {"PUT", "DELETE"}, frozenset({Role.TENANT_ADMIN})),
    Grant(re.compile(f"{_OWN}/credentials/[^/]+/check"), frozenset({"POST"}), frozenset({Role.TENANT_ADMIN})),
    Grant(
        re.compile(f"{_OWN}/(credentials(/[^/]+/history)?|usage(/tokens)?|audit)"), READ, frozenset({Role.TENANT_ADMIN})
    ),
    Grant(re.compile(f"{_OWN}/openai/.*"), None, frozenset({Role.RUNTIME})),
    Grant(re.compile(f"{_OWN}/anthropic/.*"), None, frozenset({Role.RUNTIME})),
    Grant(re.compile(f"{_OWN}/providers/.*"), None, frozenset({Role.RUNTIME})),
)
"""Everything that a role other than sysadmin may do."""


def may(role: Role, method: str, path: str) -> bool:
    """Say whether `role` may send this request. `path` is the decoded path that routing will see."""
    if role is Role.SYSADMIN:
        return True
    return any(
        role in grant.roles and (grant.methods is None or method in grant.methods) and grant.path.fullmatch(path)
        for grant in GRANTS
    )


class Authenticator:
    """Knows the configured keys by their digests."""

    def __init__(self, super_key: Secret | None, named: Sequence[NamedKey] = ()) -> None:
        """Take the keys. `super_key` has every role. Raises ValueError when it is blank."""
        known = [(Actor(key.name, key.role), bytes.fromhex(key.digest)) for key in named]
        if super_key is not None:
            if not super_key.reveal().strip():
                raise ValueError("the super key is blank")
            known.insert(0, (Actor(SUPER_ACTOR, Role.SYSADMIN), _digest(super_key.reveal().encode())))
        self._known = tuple(known)

    @property
    def actors(self) -> Sequence[Actor]:
        """Every actor that has a key from the settings."""
        return [actor for actor, _ in self._known]

    def authenticate(self, presented: bytes) -> Actor | None:
        """Return the actor whose key was presented, or None."""
        digest = _digest(presented)
        found = None
        for actor, known in self._known:
            matches = hmac.compare_digest(digest, known)
            found = actor if matches and found is None else found
        return found


def reserved_names(authenticator: Authenticator) -> frozenset[str]:
    """Return the names that no access key may have, because the audit would not distinguish them."""
    own = {SUPER_ACTOR, ANONYMOUS, SEVERAL, SERVICE, UNKNOWN}
    return frozenset(own.union(actor.name for actor in authenticator.actors))


def format_named_key(name: str, role: Role, secret: Secret) -> str:
    """Return the one line that configures a key; the key itself is not in it. Raises ValueError for a bad name."""
    if error := _name_error(name):
        raise ValueError(error)
    return f"{name}:{role}:sha256:{_digest(secret.reveal().encode()).hex()}"


def parse_named_key(text: str) -> NamedKey:
    """Return the key that a line of configuration describes.

    Raises ValueError, which names the error but repeats no part of the line, because the line may contain a key.
    """
    parts = text.strip().split(":")
    if len(parts) != 4:
        raise ValueError(f"must have the form {_FORM}")
    name, role, algorithm, digest = parts
    if error := _name_error(name):
        raise ValueError(error)
    if role not in ROLES:
        raise ValueError(f"the role must be one of {', '.join(ROLES)}")
    if algorithm != "sha256":
        raise ValueError("the digest must be marked sha256")
    if not _DIGEST.fullmatch(digest):
        raise ValueError("the digest must be 64 lower-case hexadecimal digits")
    return NamedKey(name, Role(role), digest)


def _name_error(name: str) -> str | None:
    if not _NAME.fullmatch(name):
        return (
            "the name must be 1 to 64 letters, digits, dots, dashes and underscores, and begin with a letter or digit"
        )
    if holds_key(name):
        return "the name must not be an API key: the audit trail shows it in clear"
    if name == SUPER_ACTOR:
        return f"the name '{SUPER_ACTOR}' is reserved for SUPER_API_KEY"
    return None


def _digest(key: bytes) -> bytes:
    return sha256(key).digest()
