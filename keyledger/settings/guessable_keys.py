"""Recognises keys that an attacker guesses early: short ones, and long ones put together from what people type.

Promises: a random key of `LENGTH_GOOD` or more letters and digits, in hexadecimal, base64 or base62, is not taken for
guessable. Nothing returned repeats any part of a key.
Limits: a sentence of uncommon words, a name or a leaked password passes; only a random key is safe.
"""

import re

LENGTH_GOOD = 20
_DISTINCT_GOOD = 6
_RUN = 3
"""Characters of the shortest sequence."""

_WORDS = re.findall(
    "[a-z0-9]+",
    "abc access admin administrator api apikey azure bar baz bearer by change changeit changeme changethis cloud "
    "company database default demo dev developer development docker dummy eneo enter example foo foobar for from "
    "guest hello here hunter2 iloveyou in insert intric is it key keyledger keys ledger letmein llm local "
    "localhost login long longer love main master me model models monkey my mysecret new not now of open openai "
    "pass passphrase passw0rd passwd password placeholder please private prod production public put qwerty real "
    "replace root secret secrets secure security server service set sk some staging super superkey supersecret "
    "superuser sysadmin system temp temporary test tester testing the this to todo token user username value very "
    "welcome with world your",
)
_LEET = str.maketrans("013457@$!", "oleastasi")
_ROWS = ("`1234567890-=", "qwertyuiop[]", "asdfghjkl;'", "zxcvbnm,./", "qwertzuiop", "azertyuiop", "qsdfghjklm")
_COLUMNS = ("1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik,9ol.0p;/", "qazwsxedcrfvtgbyhnujmikolp", "1q2w3e4r5t6y7u8i9o0p")
_YEAR = re.compile("(?:19|20)[0-9]{2}")
_NUMBER_MAX = 4
"""Digits of a number that people append."""


def why_guessable(key: str) -> str | None:
    """Return what makes a key easy to guess, as a predicate for an error, or None."""
    if len(key) < LENGTH_GOOD:
        return f"has fewer than {LENGTH_GOOD} characters"
    lowered = key.lower()
    if len(set(lowered)) < _DISTINCT_GOOD:
        return f"has fewer than {_DISTINCT_GOOD} different characters"
    if _repeats(lowered):
        return "repeats itself"
    if _is_common(lowered) or _is_common(lowered[::-1]):
        return "consists of common words, numbers and sequences"
    return None


def _repeats(key: str) -> bool:
    """Whether a key is one part, shorter than a good key, again and again, the last time perhaps cut off."""
    return any(key[size:] == key[:-size] for size in range(1, min(LENGTH_GOOD, len(key) // 2 + 1)))


def _is_common(key: str) -> bool:
    """Whether a key can be cut into common parts without a rest."""
    plain = key.translate(_LEET)
    reachable = {0}
    for start in range(len(key)):
        if start in reachable:
            reachable |= {start + size for size in _parts_at(key, plain, start)}
    return len(key) in reachable


def _parts_at(key: str, plain: str, start: int) -> set[int]:
    """Return the lengths of the common parts that begin at a place. plain: the key without digits for letters."""
    sizes = {len(word) for word in _WORDS if key.startswith(word, start) or plain.startswith(word, start)}
    if not key[start].isalnum():
        sizes.add(1)
    number = len(key) - start - len(key[start:].lstrip("0123456789"))
    sizes |= set(range(1, min(number, _NUMBER_MAX) + 1)) if _begins_number(key, start) else set()
    if _YEAR.match(key, start):
        sizes.add(_NUMBER_MAX)
    run = _run_at(key, start)
    return sizes | set(range(_RUN, run + 1))


def _begins_number(key: str, start: int) -> bool:
    """Whether a digit at this place begins a number, so that a long number is not cut into short ones."""
    return start == 0 or not key[start - 1].isdigit()


def _run_at(key: str, start: int) -> int:
    """Return the length of the longest sequence that begins at a place: repeated, counted, or along the keyboard."""
    longest = 0
    for step in (-1, 0, 1):
        end = start + 1
        while end < len(key) and ord(key[end]) - ord(key[end - 1]) == step:
            end += 1
        longest = max(longest, end - start)
    for end in range(start + _RUN, len(key) + 1):
        if not _along_keyboard(key[start:end]):
            break
        longest = max(longest, end - start)
    return longest


def _along_keyboard(text: str) -> bool:
    return any(text in line or text[::-1] in line for line in (*_ROWS, *_COLUMNS))
