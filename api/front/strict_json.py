"""JSON that means one thing only (RFC 8259 and I-JSON, RFC 7493).

Promises: what `parse` returns can be encoded again, has no second reading and cannot exhaust the stack.
Refuses: other encodings, a byte order mark, duplicate names, NaN and infinities, numbers out of range, lone surrogates,
deep nesting. No refusal repeats what was sent.
"""

import json
import math
import re
from typing import Never

from api.front.problems import HttpError

DEPTH_MAX = 64
_INTEGER_DIGITS = 20
_INTEGER_MAX = 2**64
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def parse(text: bytes) -> object:
    """Return the value of a JSON text in UTF-8. Raises HttpError."""
    if text.startswith(_BYTE_ORDER_MARK):
        raise _malformed("it begins with a byte order mark")
    try:
        value = json.loads(
            text.decode("utf-8"),
            object_pairs_hook=_object,
            parse_constant=_constant,
            parse_float=_float,
            parse_int=_integer,
        )
    except UnicodeDecodeError:
        raise _malformed("it is not UTF-8") from None
    except RecursionError:
        raise _malformed(_too_deep()) from None
    except ValueError:
        raise _malformed("its syntax is broken") from None
    _check_depth(value)
    if _SURROGATE.search(text):
        _check_surrogates(value)
    return value


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _malformed("a name occurs twice in one object")
    return members


def _constant(_: str) -> Never:
    raise _malformed("NaN and Infinity are not JSON")


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise _malformed("a number is out of range")
    return value


def _integer(text: str) -> int:
    if len(text) > _INTEGER_DIGITS + 1 or abs(int(text)) >= _INTEGER_MAX:
        raise _malformed("an integer is longer than 64 bits")
    return int(text)


def _check_depth(value: object) -> None:
    level = [value]
    for _ in range(DEPTH_MAX):
        level = [child for item in level for child in _children(item) if isinstance(child, dict | list)]
        if not level:
            return
    raise _malformed(_too_deep())


def _children(item: object) -> list[object]:
    if isinstance(item, dict):
        return list(item.values())
    return item if isinstance(item, list) else []


def _check_surrogates(value: object) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise _malformed("a string holds half of a surrogate pair") from None


def _too_deep() -> str:
    return f"it is nested more than {DEPTH_MAX} levels deep"


def _malformed(why: str) -> HttpError:
    return HttpError("malformed-json", f"The body is not acceptable JSON: {why}.")
