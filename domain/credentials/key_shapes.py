"""Finds API keys in texts that are to be stored.

A text is examined as it is and decoded: percent-encoding, JSON escapes and base64 are undone. Two things count as a
key: a given secret, anywhere and in any letter case; and a widely used form of key at the beginning of a word, long
enough that no word or name is mistaken for one.
Promises: a bare UUID, hexadecimal digits alone, a labelled digest, a bare prefix and ordinary words are not taken for
keys, whatever they begin with. The time of a comparison depends only on the lengths of secret and text.
A secret with fewer than `SECRET_MIN` characters is not looked for: too many texts contain it.
"""

import base64
import hmac
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import unquote

from domain.credentials.secret import Secret, mask

SECRET_MIN = 8
"""The length, in characters, of the shortest secret that is looked for in texts."""

_MIXED = "(?=[a-z]*[0-9])(?=[0-9]*[a-z])[a-z0-9]{12,}"
"""A run of both letters and digits that is longer than in names. Words and dates consist of one or the other."""

SHAPES: Mapping[str, str] = {
    "OpenAI, DeepSeek and many more": rf"sk-(?:[a-z0-9]*[_-]){{0,12}}(?:{_MIXED}|[a-z]{{32,}})",
    "OpenAI, of a project or an administrator": r"sk-(?:proj|svcacct|admin)-[\w-]{40,}",
    "Anthropic and OpenRouter": r"sk-(?:ant-[a-z]+[0-9]+|or-v[0-9]+)-[\w-]{20,}",
    "KeyLedger": r"kl[a-z]?_[\w-]{32,}",
    "Groq": "gsk_[a-z0-9]{20,}",
    "Hugging Face": "hf_[a-z0-9]{30,}",
    "Replicate": "r8_[a-z0-9]{30,}",
    "Perplexity and xAI": "(?:pplx|xai)-[a-z0-9]{40,}",
    "NVIDIA": r"nvapi-[\w-]{40,}",
    "Google": r"AIza[\w-]{35}",
    "GitHub": r"gh[pousr]_[a-z0-9]{30,}|github_pat_\w{22,}",
    "GitLab": r"glpat-[\w-]{20,}",
    "Slack": r"xox[a-z]-[0-9]{6,}-[\w-]{12,}",
    "Stripe": "[sr]k_(?:live|test)_[a-z0-9]{16,}",
    "AWS": "(?-i:(?:AKIA|ASIA)[A-Z2-7]{16})(?![a-z0-9])",
    "JSON Web Token": r"eyJ[\w-]{10,400}\.[\w-]{10,}\.[\w-]{10,}",
    "sealed secret": r"enc:fernet:v[0-9]+:[\w-]{16,}|gAAAAA[\w-]{60,}",
    "encryption key": r"(?<!sha256[:-])[\w-]{43}=(?![\w=])",
    "signing key": r"PRIVATE\+KEY\+\S{16,}|-----BEGIN\ [a-z ]{0,20}PRIVATE\ KEY-----",
    "authorization": rf"bearer\s+(?:[a-z0-9]*[^a-z0-9\s]){{0,12}}{_MIXED}",
    "password in a URL": r"[a-z][a-z0-9+.-]{1,20}://[^\s/:@]*:[^\s/@]+@",
}
"""By issuer, the form of its keys from the beginning of a word. Letter case is ignored unless the form says otherwise.

Repetitions in prefixes are bounded, so that the time for a long hostile text is proportional to its length.
"""

_SHAPE = re.compile(f"(?<![a-z0-9])(?:{'|'.join(SHAPES.values())})", re.IGNORECASE | re.ASCII)
_ID = re.compile("[a-z]?[0-9a-f-]+")
"""UUIDs, digests, key ids and fingerprints: most texts of an event, and never the form of a key."""
_WORD = re.compile(r"(?:bearer\s+)?\S+", re.IGNORECASE)
_BASE64 = re.compile(r"[\w+/-]{11,}", re.ASCII)
_TO_STANDARD = str.maketrans("-_", "+/")
_ESCAPE = re.compile(r'\\(?:u[0-9a-fA-F]{4}|["\\/bfnrt])')


_PREFIXED = re.compile(
    r"(?<![a-z0-9])(?:(?:g?sk|[pr]k|hf|r8|pplx|xai|nvapi|gh[pousr]|glpat|xox[a-z]|kl[a-z]?)[_-][\w-]{8}|(?-i:AIza|eyJ)\w{8})",
    re.IGNORECASE | re.ASCII,
)
_LONG_RUN = re.compile("(?=[a-zA-Z]*[0-9])(?=[0-9a-fA-F]*[g-zG-Z])[a-zA-Z0-9]{32,}")
"""The form of many keys without a prefix. Hexadecimal digits alone are an identifier."""


def resembles_key(identifier: str) -> bool:
    """Whether an identifier may be a key: it has the prefix of one, or a long run of letters and digits.

    Stricter than `holds_key`, for identifiers that can be replaced without harm.
    """
    return _PREFIXED.search(identifier) is not None or _LONG_RUN.search(identifier) is not None


def holds_key(text: str, secrets: Sequence[Secret] = ()) -> bool:
    """Return whether a text contains one of `secrets` or the form of a key, in any encoding."""
    if len(text) < SECRET_MIN:
        return False
    looked_for = [secret for secret in secrets if len(secret.reveal()) >= SECRET_MIN]
    if _ID.fullmatch(text):
        return _any_in(looked_for, text)
    return any(_SHAPE.search(reading) or _any_in(looked_for, reading) for reading in _readings(text))


def masked(text: str, secrets: Sequence[Secret] = ()) -> str:
    """Return a text with each word that contains a key replaced by its mask; the whole text, if a key is left."""
    if not holds_key(text, secrets):
        return text
    kept = _WORD.sub(lambda word: mask(word[0]) if holds_key(word[0], secrets) else word[0], text)
    return mask(kept) if holds_key(kept, secrets) else kept


def _readings(text: str) -> Iterator[str]:
    """Yield a text as it is and in each decoding in which it could contain a key."""
    yield from _unescaped(text)
    for _ in range(2):  # a key that was escaped twice is still the key
        if "%" in text:
            text = unquote(text)
            yield from _unescaped(text)
    for encoded in _BASE64.findall(text):
        for start in range(4):  # a key may start in the middle of other characters
            yield _decoded(encoded[start:])


def _unescaped(text: str) -> Iterator[str]:
    yield text
    if "\\" in text:
        yield _ESCAPE.sub(lambda escape: str(json.loads(f'"{escape[0]}"')), text)


def _decoded(encoded: str) -> str:
    whole = encoded[: len(encoded) - (len(encoded) % 4 == 1)].translate(_TO_STANDARD)
    return base64.b64decode(whole + "=" * (-len(whole) % 4)).decode("latin-1")


def _any_in(secrets: Sequence[Secret], text: str) -> bool:
    if not secrets:
        return False
    lowered = text.lower().encode(errors="surrogatepass")  # an escape may stand for half a character
    found = False
    for secret in secrets:
        found |= _stands_in(secret.reveal().lower().encode(errors="surrogatepass"), lowered)
    return found


def _stands_in(secret: bytes, text: bytes) -> bool:
    """Return whether `text` contains `secret`, in a time that does not depend on where or how far they match."""
    size, found = len(secret), False
    for start in range(len(text) - size + 1):
        found |= hmac.compare_digest(text[start : start + size], secret)
    return found
