"""Finds a secret wherever it was left, in the forms that secrets hide in."""

import base64
import hashlib
import json
import subprocess
from collections.abc import Iterable
from urllib.parse import quote

import psycopg

from tests.support.postgres import programs

SHOWN_TAIL = 4
"""The mask shows the last four characters; everything longer is a leak."""


def forms(secret: str) -> dict[str, bytes]:
    """The secret in every encoding that is searched for."""
    raw = secret.encode()
    found = {
        "plain": raw,
        "reversed": raw[::-1],
        "first half": raw[: len(raw) // 2],
        "hexadecimal": raw.hex().encode(),
        "upper case": secret.upper().encode(),
        "url-encoded": quote(secret, safe="").encode(),
        "json-escaped": json.dumps(secret).encode().strip(b'"'),
        "utf-16": secret.encode("utf-16-le"),
        "md5": hashlib.md5(raw, usedforsecurity=False).hexdigest().encode(),
        "sha-1": hashlib.sha1(raw, usedforsecurity=False).hexdigest().encode(),
        "sha-256": hashlib.sha256(raw).hexdigest().encode(),
        "sha-256 in base64": base64.b64encode(hashlib.sha256(raw).digest()),
        "octal bytea": b"".join(b"\\%03o" % byte for byte in raw),
    }
    for offset in range(3):
        encoded = base64.b64encode(b"\0" * offset + raw)
        # The characters that do not depend on the text around the secret.
        start = (offset * 8 + 5) // 6
        whole = encoded[start : len(encoded) - 4]
        found[f"base64 at offset {offset}"] = whole
        found[f"url-safe base64 at offset {offset}"] = whole.translate(bytes.maketrans(b"+/", b"-_"))
    return found


def leaks(haystack: bytes, secrets: Iterable[str]) -> set[str]:
    """The names of the forms in which any of the secrets is in `haystack`."""
    return {name for secret in secrets for name, form in forms(secret).items() if form in haystack}


def dump(database_url: str) -> bytes:
    """A full dump as `pg_dump` writes it, with the log and the statements the server remembers as text."""
    dumped = subprocess.run([programs() / "pg_dump", database_url], capture_output=True, check=True).stdout
    with psycopg.connect(database_url) as database:
        states = [bytes(state) for (state,) in database.execute("SELECT state FROM keyledger_events")]
        said = [query.encode() for (query,) in database.execute("SELECT coalesce(query, '') FROM pg_stat_activity")]
    assert b"keyledger_events" in dumped
    return b"\n".join([dumped, *states, *said])
