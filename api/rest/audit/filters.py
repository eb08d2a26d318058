"""The filter of the audit as query parameters: one parameter for each member, or all of them in `q`, or both.

Promises: every endpoint that takes a filter takes the same one; a member that is given twice is refused, also when one
of the two is in `q`. Values that contain a key are refused before (`only_query`), because searches are recorded.
"""

from dataclasses import replace
from typing import Annotated

from fastapi import Depends, Query
from pydantic import StringConstraints

from api.front.services import ServicesOf
from api.rest.schemas import Absent, ActorFilter, ProviderFilter, Since, TenantFilter, Until
from domain.audit.entries import Action, AuditFilter
from domain.audit.query import FINGERPRINT, KEY_ID, NAMES, QUERY_MAX, is_printable, parse
from domain.audit.request_events import Outcome
from domain.credentials.providers import Providers
from domain.errors import InvalidField, InvalidRequestError
from domain.text.unknown_names import probably_meant

FILTER_NAMES = (
    "q",
    "tenant_id",
    "provider",
    "action",
    "outcome",
    "actor",
    "key_id",
    "fingerprint",
    "since",
    "until",
    "reason",
    "text",
)
"""The query parameters of a filter, for `only_query`."""

_TEXT_MAX = 200

_Query = Annotated[
    Annotated[str, StringConstraints(max_length=QUERY_MAX)] | Absent,
    Query(
        description=f"A filter as text: `name:value` terms ({', '.join(NAMES)}) and words an entry must contain.",
        examples=["action:deleted since:24h"],
    ),
]
_ActionFilter = Annotated[Action | Absent, Query(description="Only this action.")]
_OutcomeFilter = Annotated[Outcome | Absent, Query(description="Only what ended so.")]
_KeyIdFilter = Annotated[
    Annotated[str, StringConstraints(pattern=f"^{KEY_ID}$")] | Absent,
    Query(description="Only about this encryption key."),
]
_FingerprintFilter = Annotated[
    Annotated[str, StringConstraints(pattern=f"^{FINGERPRINT}$")] | Absent,
    Query(description="Only about the API key with this fingerprint."),
]
_ReasonFilter = Annotated[
    Annotated[str, StringConstraints(min_length=1, max_length=_TEXT_MAX)] | Absent,
    Query(description="Only entries whose reason contains this text, whatever the case."),
]
_TextFilter = Annotated[
    Annotated[str, StringConstraints(min_length=1, max_length=_TEXT_MAX)] | Absent,
    Query(description="Only entries that contain this text, whatever the case."),
]


def _filter(
    *,
    services: ServicesOf,
    q: _Query = None,
    tenant_id: TenantFilter = None,
    provider: ProviderFilter = None,
    action: _ActionFilter = None,
    outcome: _OutcomeFilter = None,
    actor: ActorFilter = None,
    key_id: _KeyIdFilter = None,
    fingerprint: _FingerprintFilter = None,
    since: Since = None,
    until: Until = None,
    reason: _ReasonFilter = None,
    text: _TextFilter = None,
) -> AuditFilter:
    """Return the filter that the query parameters describe."""
    wanted = parse(q or "", services.clock())
    given = {
        "tenant_id": tenant_id,
        "provider": provider,
        "action": action,
        "outcome": outcome,
        "actor": actor,
        "key_id": key_id,
        "fingerprint": fingerprint,
        "since": since,
        "until": until,
        "reason": reason,
    }
    stated = {name: value for name, value in given.items() if value is not None}
    twice = [name for name in stated if getattr(wanted, name) is not None]
    if twice:
        raise InvalidRequestError([InvalidField(name, "is given twice: here and in q") for name in twice])
    unprintable = [name for name, value in (("reason", reason), ("text", text)) if value and not is_printable(value)]
    if unprintable:
        raise InvalidRequestError([InvalidField(name, "must have printable characters only") for name in unprintable])
    texts = wanted.texts if text is None else (*wanted.texts, text)
    asked = replace(wanted, texts=texts, **stated)  # type: ignore[arg-type]  # checked by their annotations
    _refuse_slip(asked.provider, services.providers)
    return asked


def _refuse_slip(provider: str | None, known: Providers) -> None:
    """Refuse a probable misspelling of a provider. Other names may be of providers no longer configured."""
    if provider is not None and provider not in known and (meant := probably_meant(provider, known)):
        raise InvalidRequestError([InvalidField("provider", f"is not known; did you mean {meant}?")])


FilterOf = Annotated[AuditFilter, Depends(_filter)]
