"""The calls that a connection to a provider may serve.

Promises: two calls share connections only where tenant, version of the credential, key and origin are the same. A
purpose holds a digest of the key, never the key.
"""

import hashlib
import secrets
from typing import NamedTuple

from domain.credentials.secret import Secret
from keyledger.llm.requests.origin import Origin
from keyledger.llm.wire.lease import Owner

_SALT = secrets.token_bytes(32)


class Purpose(NamedTuple):
    """The calls that a connection may serve. version: None for the global key. key: a digest, new in each process."""

    tenant_id: str
    provider: str
    version: int | None
    key: bytes
    scheme: str
    host: str
    port: int


def purpose_of(owner: Owner, secret: Secret, origin: Origin) -> Purpose:
    """Return the purpose of a connection that carries `secret`."""
    key = hashlib.blake2b(secret.reveal().encode(), key=_SALT, digest_size=16).digest()
    return Purpose(*owner, key, origin.scheme, origin.host, origin.port)
