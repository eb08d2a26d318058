"""JSON Web Tokens and the public keys that check their signatures. The only module that imports joserfc.

Promises: nothing of a token is believed before one of its issuer's keys, of the kind that the token's algorithm needs,
has checked the signature; the algorithm is one of a list that the operator gave, of those with public keys only. Keys
that a token carries or points to (`jwk`, `jku`, `x5c`, `x5u`) are not looked at.
Refuses: critical headers, since none is understood, and with them unencoded payloads (`b64`); encrypted and nested
tokens; types of tokens that are not for access (`typ`); keys that are short, secret, or not for signatures.
Standards: RFC 7515, 7517, 7519, 8725.
"""

import base64
import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey

from domain.access.identity import ALGORITHMS

KEYS_MAX = 100
"""Keys of one issuer that are kept."""
_TRIED_MAX = 8
_PART_MAX = 16 * 1024
_RSA_BITS_MIN, _RSA_BITS_MAX = 2048, 8192
_TEXT_MAX, _EXPONENT_MAX = 2048, 6
_KINDS: Mapping[str, type[RSAKey] | type[ECKey] | type[OKPKey]] = {"RSA": RSAKey, "EC": ECKey, "OKP": OKPKey}
_KIND_OF = {"R": "RSA", "P": "RSA", "E": "EC"}
_TYPES = frozenset({"jwt", "at+jwt"})
_LATEST = 253_402_300_799
"""The last second of the year 9999."""


@dataclass(frozen=True, slots=True)
class PublicKeys:
    """The keys of an issuer, in the order in which it lists them."""

    keys: tuple[Key, ...]

    @classmethod
    def read(cls, document: object) -> "PublicKeys":
        """Return the usable keys of a JWK set; there may be none. Raises ValueError for anything else."""
        listed = document.get("keys") if isinstance(document, dict) else None
        if not isinstance(listed, list):
            raise ValueError("not a JWK set")
        read = (_key_of(one) for one in listed[:KEYS_MAX] if isinstance(one, dict))
        return cls(tuple(key for key in read if key is not None))

    def that_fit(self, key_id: str | None, algorithm: str) -> Sequence[Key]:
        """Return the keys that may have signed a token: several with one id, or where the token names none."""
        kind = _KIND_OF.get(algorithm[:1], "OKP")
        return [
            key
            for key in self.keys
            if key.key_type == kind
            and key_id in {None, key.get("kid")}
            and key.get("alg") in {None, algorithm, "EdDSA" if kind == "OKP" else None}
        ][:_TRIED_MAX]


@dataclass(frozen=True, slots=True)
class UncheckedToken:
    """A token as it was sent. issuer, key_id: what it says of itself, good for finding a key and nothing else."""

    issuer: str
    key_id: str | None
    algorithm: str
    _claims: Mapping[str, object] = field(repr=False)
    _signed: jws.CompactSignature = field(repr=False)

    def checked(self, keys: PublicKeys, algorithms: Collection[str]) -> Mapping[str, object] | None:
        """Return the claims if one of the keys signed them with one of the algorithms, else None."""
        if self.algorithm not in algorithms or self.algorithm not in ALGORITHMS:
            return None
        registry = _registry([self.algorithm])
        for key in keys.that_fit(self.key_id, self.algorithm):
            try:
                if jws.validate_compact(self._signed, key, registry=registry):
                    return self._claims
            except (JoseError, ValueError):
                continue
        return None


def read_token(token: bytes) -> UncheckedToken | None:
    """Return a token, unchecked; None for anything that cannot be one of a trusted issuer."""
    try:
        signed = jws.extract_compact(token, registry=_registry(ALGORITHMS))
        header, claims = signed.headers(), json.loads(signed.payload or b"")
    except (JoseError, ValueError, RecursionError):
        return None
    issuer = claims.get("iss") if isinstance(claims, dict) else None
    algorithm, key_id, kind = header.get("alg"), header.get("kid"), header.get("typ", "JWT")
    if "crit" in header or not (isinstance(issuer, str) and isinstance(algorithm, str) and isinstance(kind, str)):
        return None
    if not isinstance(key_id, str | None) or kind.lower().removeprefix("application/") not in _TYPES:
        return None
    return UncheckedToken(issuer, key_id, algorithm, claims, signed)


def time_of(claims: Mapping[str, object], name: str) -> float | None:
    """Return a claim that is a time, in seconds since 1970; None where there is none. Raises ValueError."""
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(name)
    if not 0 <= value <= _LATEST:
        raise ValueError(name)
    return float(value)


def audiences_of(claims: Mapping[str, object]) -> Sequence[str]:
    """Return the audiences of a token."""
    named = claims.get("aud")
    listed = named if isinstance(named, list) else [named]
    return [one for one in listed if isinstance(one, str)]


def _registry(algorithms: Collection[str]) -> jws.JWSRegistry:
    registry = jws.JWSRegistry(algorithms=list(algorithms), strict_check_header=False)  # RFC 7515, 4.2: others ignored
    registry.max_header_length = registry.max_payload_length = _PART_MAX
    return registry


def _key_of(entry: Mapping[str, object]) -> Key | None:
    """Return the key of an entry; None where it is not one for checking signatures."""
    kind = _KINDS.get(str(entry.get("kty")))
    operations = entry.get("key_ops")
    if kind is None or "d" in entry or entry.get("use", "sig") != "sig":
        return None
    if operations is not None and not (isinstance(operations, list) and "verify" in operations):
        return None
    public = {name: entry[name] for name in ("kty", "kid", "alg", "n", "e", "crv", "x", "y") if name in entry}
    if not all(isinstance(value, str) and len(value) <= _TEXT_MAX for value in public.values()):
        return None
    try:
        if kind is RSAKey and not _is_safe_rsa(public):
            return None
        return kind.import_key(public)  # type: ignore[arg-type]  # texts only
    except (JoseError, ValueError, TypeError, KeyError):
        return None


def _is_safe_rsa(public: Mapping[str, object]) -> bool:
    """Whether an RSA key is long enough to be safe, and not so long that checking costs much. Raises ValueError."""
    modulus = int.from_bytes(base64.urlsafe_b64decode(f"{public.get('n', '')}=="))
    return _RSA_BITS_MIN <= modulus.bit_length() <= _RSA_BITS_MAX and len(str(public.get("e", ""))) <= _EXPONENT_MAX
