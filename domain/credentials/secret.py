"""Plaintext and sealed API keys as types that cannot be shown by accident.

Promises: `repr`, `str`, `format`, f-strings, JSON and pickling of a `Secret` or a `SealedSecret` never hold its value;
the only way to the plaintext is an explicit `Secret.reveal()`, which is easy to search for.
Refuses: pickling and copying through pickle, ordering, and hashing. Equality takes constant time.
"""

import hmac
from dataclasses import dataclass, field
from typing import NoReturn, Protocol
from uuid import UUID

MASK_TAIL = 4


class Secret:
    """An API key in plaintext, kept for the duration of one call."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the plaintext, for sealing and for the request to the provider only."""
        return self._value

    def masked(self) -> str:
        """Return the form that people may see: three dots and the last four characters."""
        return mask(self._value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value.encode(), other._value.encode())

    __hash__ = None  # type: ignore[assignment]  # a secret is never a dictionary key

    def __repr__(self) -> str:
        return "<secret>"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return "<secret>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not serialised")


@dataclass(frozen=True, slots=True)
class SealedSecret:
    """A secret as it is stored in the log.

    token: `enc:fernet:v1:` and a Fernet token of the key.
    binding: `hmac-sha256:v1:` and a MAC over the token and the place where it may be used (see `SealContext`).
    key_id: of the encryption key that opens it: `k` and ten hexadecimal digits.
    """

    token: str = field(repr=False)
    binding: str = field(repr=False)
    key_id: str

    def __reduce__(self) -> NoReturn:
        raise TypeError("a sealed secret is not serialised")


@dataclass(frozen=True, slots=True)
class SealContext:
    """The place where a sealed secret may be used: everything its binding covers besides the token and the key id.

    A token moved to another tenant, provider, version or endpoint does not open.
    """

    tenant_id: str
    provider: str
    stream_id: UUID
    version: int
    endpoint: str | None
    api_version: str | None
    deployment_name: str | None


def mask(value: str) -> str:
    """Return three dots and the last four characters of `value`, or `***` if it has no more than four."""
    return "***" if len(value) <= MASK_TAIL else f"...{value[-MASK_TAIL:]}"


class Sealer(Protocol):
    """Encrypts secrets and binds each to the place where it may be used."""

    @property
    def primary_id(self) -> str:
        """The key id that new tokens carry."""
        ...

    def seal(self, secret: Secret, context: SealContext) -> SealedSecret:
        """Seal under the primary encryption key."""
        ...

    def open(self, sealed: SealedSecret, context: SealContext) -> Secret:
        """Return the plaintext.

        Raises UnreadableCredentialError or CredentialIntegrityError. Never tries another key than that of the key id.
        """
        ...

    def check(self, sealed: SealedSecret, context: SealContext) -> None:
        """Raise what `open` would raise, without decrypting."""
        ...

    def fingerprint(self, secret: Secret) -> str:
        """Return a keyed digest: equal for equal secrets in one ledger, useless without its own secret."""
        ...
