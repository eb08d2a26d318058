"""Answers to requests that do not fit their schema.

Promises: an answer holds field names, the place in the body and our own text. The validator's message, input and
context are never sent. The name of an unknown field is repeated only where it is a plain one
(`domain.text.unknown_names`), because a key pasted in the wrong place is a name too. None of this is logged.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fastapi import Depends, Request
from fastapi.exceptions import RequestValidationError

from api.front.exchange import exchange_of
from domain.access.roles import Role
from domain.access.scope import DIMENSIONS
from domain.access.service import NAME_PATTERN
from domain.approvals.needs import Approval
from domain.audit.entries import Action
from domain.audit.formats import ExportFormat
from domain.audit.query import QUERY_MAX
from domain.audit.request_events import Outcome
from domain.credentials.stored import CredentialState
from domain.errors import FIELDS_MAX, InvalidField, InvalidRequestError
from domain.text.unknown_names import unknown_name

_TIME = "must be an RFC 3339 time with an offset, such as 2026-01-31T12:00:00Z"
RULES: Mapping[str, str] = {
    "tenant_id": "must be a UUID in its canonical spelling: lower case with hyphens, such as "
    "7c9e6679-7425-40de-944b-e07fc1f90ae7",
    "provider": "must be the name of a provider, such as openai",
    "replay_id": "must be a UUID in its canonical spelling: lower case with hyphens",
    "compare_only": "must be true or false",
    "swap_when_different": "must be true or false",
    "as_of": _TIME,
    "proposal_id": "must be a UUID in its canonical spelling: lower case with hyphens",
    "rotation_id": "must be a UUID in its canonical spelling: lower case with hyphens",
    "api_key": "must be a string",
    "endpoint": "must be a string or null",
    "api_version": "must be a string or null",
    "deployment_name": "must be a string or null",
    "name": f"must be a text that fits {NAME_PATTERN}",
    "role": f"must be one of {', '.join(Role)}",
    **dict.fromkeys(DIMENSIONS, "must be a list of texts, or null for all"),
    "expires_at": "must be an RFC 3339 time with an offset, such as 2026-01-31T12:00:00Z, or null",
    "old_token_until": "must be an RFC 3339 time with an offset, such as 2026-01-31T12:00:00Z, or null",
    "requests_per_minute": "must be a whole number from 0 to 1000000",
    "tokens_per_day": "must be a whole number from 0 to 1000000000000000",
    "spend_per_month": 'must be an amount as a text, such as "250.00", or null',
    "concurrent_calls": "must be a whole number from 0 to 1000000",
    "token": "must be a string",
    "labels": "must be an object of texts",
    "own_endpoints": "must be true or false",
    "fallback": "must be allow or deny",
    "key_check": "must be true or false",
    "actor": "must be 1 to 128 printable ASCII characters without spaces",
    "state": f"must be one of {', '.join(CredentialState)}",
    "proposal_state": "must be open, approved, rejected or lapsed",
    "command": f"must be one of {', '.join(Approval)}",
    "set_before": _TIME,
    "used_before": _TIME,
    "unused_since": _TIME,
    "access_key": "must be 1 to 128 printable ASCII characters without spaces",
    "version": "must be the version of a credential: an integer of at least 0",
    "part_of": "must be a position in the log: an integer of at least 0",
    "since": _TIME,
    "until": _TIME,
    "before": "must be a position in the log: an integer of at least 1",
    "position": "must be a position in the log: an integer of at least 1",
    "size": "must be the size of a tree: an integer of at least 0",
    "from": "must be the size of a tree: an integer of at least 0",
    "to": "must be the size of a tree: an integer of at least 0",
    "order": "must be oldest or newest",
    "q": f"must be a filter of at most {QUERY_MAX} characters",
    "action": f"must be one of {', '.join(Action)}",
    "outcome": f"must be one of {', '.join(Outcome)}",
    "key_id": "must be the id of an encryption key: k and ten hexadecimal digits in lower case",
    "fingerprint": "must be a fingerprint: f and sixteen hexadecimal digits in lower case",
    "text": "must be a text of 1 to 200 characters",
    "reason": "must be a text of 1 to 200 characters",
    "bom": "must be true or false",
    "after": "must be the `next` of a page; for entries, a position in the log: an integer of at least 0",
    "limit": "must be an integer from 1 to 1000",
    "format": f"must be one of {', '.join(ExportFormat)}",
    "model": "must be the name of a model, at most 256 characters",
}
"""The rule that each known field must follow, as a caller reads it."""


def request_errors(error: RequestValidationError, route: object = None) -> InvalidRequestError:
    """Return the error as one of the domain, with each finding named once.

    route: the matched route, whose body fields are named as the known ones.
    """
    known = _body_fields(route)
    errors = dict.fromkeys(_error(finding, known) for finding in error.errors()[:FIELDS_MAX])
    return InvalidRequestError(list(errors))


def only_query(*names: str) -> Any:
    """Return a dependency that refuses unknown query parameters, repeated ones, and values that contain a key.

    A misspelt filter would widen an answer; a key in a query would end up in logs, those of every proxy included.
    """
    return Depends(_query_check(names))


def no_body(request: Request) -> None:
    """Refuse a body with members, where there are no options. A dependency."""
    if exchange_of(request.scope).body:
        raise InvalidRequestError([InvalidField("the body", "must be empty: there are no options")])


def _query_check(names: Sequence[str]) -> Callable[[Request], None]:
    rule = f"known query parameters: {', '.join(names)}" if names else "there are no query parameters here"

    def check(request: Request) -> None:
        if not request.scope["query_string"]:
            return
        sent = [name for name, _ in request.query_params.multi_items()]
        for name in names:
            value = request.query_params.get(name, "")
            if len(value) > QUERY_MAX:
                raise InvalidRequestError([InvalidField(name, f"must have at most {QUERY_MAX} characters")])
            exchange_of(request.scope).require_no_key(name, value)
        errors = [InvalidField(name, "is given more than once") for name in names if sent.count(name) > 1]
        unknown = [name for name in sent if name not in names]
        errors += [unknown_name(name, "query parameter", names, rule) for name in unknown[:FIELDS_MAX]]
        if errors:
            raise InvalidRequestError(list(dict.fromkeys(errors)))

    return check


def _body_fields(route: object) -> Sequence[str]:
    body = getattr(getattr(route, "body_field", None), "field_info", None)
    return list(getattr(getattr(body, "annotation", None), "model_fields", ()))


def _error(finding: Mapping[str, Any], known: Sequence[str]) -> InvalidField:
    place, *names = finding["loc"]
    if place == "body" and not names:
        return InvalidField("the body", "is required: a JSON object")
    name = names[0] if names else ""
    if finding["type"] == "extra_forbidden" or name not in RULES:
        return unknown_name(str(name), "field", known, f"known fields: {', '.join(known)}")
    return InvalidField(str(name), "is required" if finding["type"] == "missing" else RULES[name])
