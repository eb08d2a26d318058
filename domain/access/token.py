"""The token of an access key: `klk_`, 43 random characters, and 6 characters that check the rest.

Promises: a token holds 32 random bytes. A scanner can tell a token from a similar text without asking the service: the
last 6 characters are the CRC-32 of everything before them, in base 62. The service keeps the SHA-256 of a token only;
with 32 random bytes in it, no token can be guessed from its digest.
"""

import re
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Callable
from hashlib import sha256
from zlib import crc32

from domain.credentials.secret import Secret

PREFIX = "klk_"
_FORM = re.compile(rb"klk_[A-Za-z0-9_-]{43}[0-9A-Za-z]{6}")
_CHECKED = 6
_LENGTH = len(PREFIX) + 43 + _CHECKED
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def new_token(random: Callable[[int], bytes] = secrets.token_bytes) -> Secret:
    """Return a new token. random: returns that many random bytes."""
    begun = f"{PREFIX}{urlsafe_b64encode(random(32)).rstrip(b'=').decode()}"
    return Secret(begun + _check_of(begun.encode()))


def is_token(text: bytes) -> bool:
    """Whether a text has the form of a token and its last characters fit the rest."""
    return _FORM.fullmatch(text) is not None and _check_of(text[:-_CHECKED]).encode() == text[-_CHECKED:]


def tokens_in(text: bytes) -> frozenset[bytes]:
    """Return the tokens that a text contains, such as a line of a log or of a file of settings."""
    starts = (found.start() for found in re.finditer(PREFIX.encode(), text))
    return frozenset(one for start in starts if is_token(one := text[start : start + _LENGTH]))


def digest_of(token: bytes) -> str:
    """Return the SHA-256 of a token: 64 lower-case hexadecimal digits."""
    return sha256(token).hexdigest()


def _check_of(begun: bytes) -> str:
    number, digits = crc32(begun), ""
    for _ in range(_CHECKED):
        number, digit = divmod(number, len(_DIGITS))
        digits = _DIGITS[digit] + digits
    return digits
