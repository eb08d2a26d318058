"""Recognises the names of headers and query parameters from which servers read keys, in every spelling.

Promises: two names that a server may take for each other are judged alike. CGI and the servers built like it turn each
character other than a letter or a digit into an underscore, PHP reads `api_key[]` as `api_key`, and a proxy may decode
escapes once more. So letter case, punctuation, brackets and escapes do not count.
"""

import re
from functools import lru_cache
from urllib.parse import unquote_to_bytes

NAMES_KEPT = 1024
_NAME_KEPT_MAX = 128
_DECODINGS = 4
_PUNCTUATION = re.compile(r"[^a-z0-9]+")
_SEPARATORS = re.compile("[&;?,]")

_IN_BOTH = (
    r"(?:x-)?(?:api-?(?:keys?|token|secret)|auth|(?:proxy-)?authori[sz]ation|authentication|bearer|credentials?|jwt)",
    r"(?:x-)?(?:access|auth|oauth|authentication|bearer|private|secret|security)-?(?:key|token|secret)",
    r"(?:x-)?(?:session|service|user|app|account|admin|id)-?(?:key|token|secret)",
    r"(?:x-)?(?:token|secret|password|passwd|signature)",
    r"(?:.*-)?(?:subscription|functions|sas|license|access)-key(?:-id)?",
    r"(?:x-)?(?:goog|amz|aws|ms)-(?:.*-)?(?:api-key|token|credential|signature|access-?key-?id)",
    r"(?:x-)?client-(?:secret|token|assertion)",
)
# No provider documents names such as "api-key-2" and "auth-user", but some servers look at beginnings only.
_HEADER = re.compile(
    "|".join((*_IN_BOTH, r"(?:x-)?(?:api-?key|auth|authori[sz]ation)-.*", r"(?:.*-)?(?<!idempotency-)(?<!cache-)key"))
    + r"|(?:.*-)?(?:token|secret|api-?key|auth|authori[sz]ation|jwt|assertion|dpop|cookie2?|method-override)"
    + r"|(?:.*-)?(?:password|passwd|passphrase|pwd|signature|credentials?)|x-amzn-oidc-.*"
)
_BRACKETED = re.compile("|".join(_IN_BOTH))
_PAGES = r"(?!(?:.*-)?(?:next-?)?(?:page|next|continuation|sync)-?token)"
"""Tokens that ask for the next page of a list."""
_PARAMETER = re.compile(
    "|".join(
        (
            *_IN_BOTH,
            "(?:.*-)?key|.*api-?key|.*access-?key-?id|sig|code|x-amz-.*",
            _PAGES + "(?:.*-)?(?:token|secret|auth|jwt|assertion|pass|passwd|password|passphrase|pwd)",
        )
    )
)


@lru_cache(maxsize=NAMES_KEPT)
def plain(name: str) -> str:
    """Return a name in the one form that all its spellings share: lower case, words joined by hyphens."""
    return _PUNCTUATION.sub("-", name.lower()).strip("-")


def is_key_header(name: str) -> bool:
    """Whether servers read a key from a header of this name. name: as `plain` returns it."""
    return _HEADER.fullmatch(name) is not None


def holds_key_parameter(text: str, dropped: frozenset[str]) -> bool:
    """Whether a server may read a key from one part of a query. dropped: further names to find, as `plain` gives them.

    A part that holds separators once it is decoded is several parameters.
    """
    for _ in range(_DECODINGS):
        names, within_brackets = _names(text)
        if (
            any(map(_reads_key, names))
            or not dropped.isdisjoint(names)
            or any(map(_BRACKETED.fullmatch, within_brackets))
        ):
            return True
        decoded = unquote_to_bytes(text).decode("latin-1")
        if decoded == text:
            return False
        text = decoded
    return True  # no caller has a reason to escape a text so often


def _names(text: str) -> tuple[list[str], list[str]]:
    """Return the names without what is in brackets, and those in brackets as one name with what precedes them."""
    given = [one.partition("=")[0] for one in _SEPARATORS.split(text)]
    return [_plain(name.partition("[")[0]) for name in given], [_plain(name) for name in given if "[" in name]


def _plain(name: str) -> str:
    return plain(name) if len(name) <= _NAME_KEPT_MAX else plain.__wrapped__(name)


def _reads_key(name: str) -> bool:
    return _PARAMETER.fullmatch(name) is not None
