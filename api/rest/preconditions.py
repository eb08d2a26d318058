"""The headers of a command: the version that the caller has seen, and the id of the command.

Promises: entity tags are compared strongly (RFC 9110, 13.1.1), so a weak or unknown tag matches nothing; a
header that cannot be parsed is refused, because ignoring a condition would violate it.
"""

import re
from typing import Annotated
from uuid import uuid4

from fastapi import Depends, Header, Request
from pydantic import WithJsonSchema

from api.front.exchange import ExchangeOf
from api.front.problems import HttpError
from api.rest.schemas import Absent
from domain.credentials.commands import Precondition
from domain.events.event import CommandMeta

_TAG = r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"'
# Possessive, so that a hostile list cannot cause catastrophic backtracking.
_TAG_LIST = re.compile(rf"[\t ,]*+{_TAG}[\t ]*+(,[\t ]*+({_TAG}[\t ]*+)?)*+")
_ONE_TAG = re.compile(_TAG)
_VERSION = re.compile(r"v(0|[1-9][0-9]{0,17})")
TAGS = WithJsonSchema({"type": "string", "pattern": r'^(\*|"v(0|[1-9][0-9]{0,17})")$', "examples": ['"v3"']})
_IF_NONE_MATCH = WithJsonSchema({"type": "string", "pattern": r"^\*$", "examples": ["*"]})
_IDEMPOTENCY_KEY = WithJsonSchema({"type": "string", "pattern": r"^[\x21-\x7e]([\x20-\x7e]{0,253}[\x21-\x7e])?$"})
_REASON = WithJsonSchema(
    {"type": "string", "minLength": 1, "maxLength": 500, "pattern": r"^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$"}
)
_COMMAND = re.compile(r"[\x20-\x7e]{1,255}")


def entity_tag(version: int) -> str:
    """Return the ETag of a version."""
    return f'"v{version}"'


def matches_tag(request: Request, version: int) -> bool:
    """Say whether `If-None-Match` names this version, so that a GET may answer 304. Weak tags count (13.1.2)."""
    value = _header(request, b"if-none-match")
    return value is not None and (value == "*" or version in _versions(value, "If-None-Match", weak=True))


def _precondition(
    request: Request,
    if_match: Annotated[
        str | Absent, Header(alias="If-Match", description="Only if it is at this version."), TAGS
    ] = None,
    if_none_match: Annotated[
        str | Absent, Header(alias="If-None-Match", description="`*`: only if there is none."), _IF_NONE_MATCH
    ] = None,
) -> Precondition:
    """Return the precondition. The parameters are for the document only; repeated headers are read as one list."""
    versions, exists = None, None
    if (wanted := _header(request, b"if-match")) is not None:
        if wanted == "*":
            exists = True
        else:
            versions = _versions(wanted, "If-Match", weak=False)
    if (unwanted := _header(request, b"if-none-match")) is not None:
        if unwanted != "*":
            raise HttpError("malformed-header", "If-None-Match may only be * here; use If-Match for a version.")
        # Both together can never hold, which an empty set of versions expresses.
        versions, exists = (frozenset(), None) if exists else (versions, False)
    return Precondition(versions, exists)


def _command_meta(
    request: Request,
    exchange: ExchangeOf,
    idempotency_key: Annotated[
        str | Absent, Header(alias="Idempotency-Key", description="Makes the command happen once."), _IDEMPOTENCY_KEY
    ] = None,
    audit_reason: Annotated[
        str | Absent,
        Header(alias="X-Audit-Reason", description="Why; kept for auditors. UTF-8; a service can require it."),
        _REASON,
    ] = None,
) -> CommandMeta:
    """Return caller, reason and command id. The guard has read the reason; here it is only documented."""
    sent = _lines(request, b"idempotency-key")
    if not sent:
        return exchange.meta(str(uuid4()))
    key = sent[0].strip()
    if len(key) > 1 and key[0] == key[-1] == '"':  # the string form of RFC 8941
        key = key[1:-1]
    if len(sent) > 1 or not _COMMAND.fullmatch(key):
        raise HttpError("malformed-header", "Idempotency-Key must be one value of 1 to 255 ASCII characters.")
    exchange.require_no_key("Idempotency-Key", key)
    return exchange.meta(key, may_repeat=True)


PreconditionOf = Annotated[Precondition, Depends(_precondition)]
CommandMetaOf = Annotated[CommandMeta, Depends(_command_meta)]


def _header(request: Request, name: bytes) -> str | None:
    lines = _lines(request, name)
    return ", ".join(lines).strip() if lines else None


def _lines(request: Request, name: bytes) -> list[str]:
    """Return the values of a header, one for each line. name: in lower case."""
    return [value.decode("latin-1") for sent, value in request.scope["headers"] if sent == name]


def _versions(value: str, name: str, *, weak: bool) -> frozenset[int]:
    if not _TAG_LIST.fullmatch(value):
        raise HttpError("malformed-header", f'{name} must be * or a list of entity tags such as "v3".')
    tags = [opaque for prefix, opaque in _ONE_TAG.findall(value) if weak or not prefix]
    return frozenset(int(match[1]) for tag in tags if (match := _VERSION.fullmatch(tag)))
