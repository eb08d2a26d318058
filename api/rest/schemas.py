"""The shapes of requests and answers, as documented in /openapi.json.

Promises: a key received as JSON becomes a `SecretStr` at once and never shows in a trace; times are sent as RFC 3339 in
UTC with `Z`; identifiers are accepted in their canonical spelling only.
Error messages are in `validation`.
"""

import re
from datetime import UTC, datetime
from typing import Annotated, Literal

from fastapi import Path, Query
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
    WithJsonSchema,
)
from pydantic.json_schema import SkipJsonSchema

from api.front.paths import UUID_PATTERN
from api.rest.examples import TENANT
from domain.audit.entries import Action
from domain.audit.request_events import Outcome
from domain.calls.models import Adapter
from domain.credentials.providers import KEY_MAX, KEY_MIN, NAME_PATTERN
from domain.credentials.resolution import Source
from domain.credentials.stored import CredentialState

POSITION_MAX = 2**63 - 1
_INSTANT = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d):(\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d)")
_EARLIEST, _LATEST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


def _instant(text: object) -> datetime:
    """Read an RFC 3339 time with its offset. Times before or after what can be stored become the nearest that can."""
    match = _INSTANT.fullmatch(text.upper()) if isinstance(text, str) and text.isascii() else None
    if match is None:
        raise ValueError
    minutes, seconds, fraction, offset = match.groups()
    leap = seconds == "60"  # RFC 3339 has leap seconds, datetime has not
    read = datetime.fromisoformat(f"{minutes}:{'59' if leap else seconds}{(fraction or '')[:7]}{offset}")
    try:
        return read.astimezone(UTC)
    except OverflowError:
        return _EARLIEST if read.year == 1 else _LATEST


def _in_utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC)


Absent = SkipJsonSchema[None]
"""The value of a parameter that was not sent; no request can send it."""

_Uuid = Annotated[str, StringConstraints(pattern=UUID_PATTERN)]
TenantId = Annotated[_Uuid, Path(description="UUID of the tenant, lower case with hyphens.", examples=[TENANT])]
ProviderName = Annotated[str, Path(description="Name of the provider.", examples=["openai"])]
TenantFilter = Annotated[_Uuid | Absent, Query(description="Only entries of this tenant.")]
ProviderFilter = Annotated[
    Annotated[str, StringConstraints(pattern=f"^{NAME_PATTERN}$")] | Absent,
    Query(description="Only entries for this provider."),
]
SettingName = Literal["endpoint", "api_version", "deployment_name"]
ActorFilter = Annotated[
    Annotated[str, StringConstraints(pattern=r"^[\x21-\x7e]{1,128}$")] | Absent,
    Query(description="Only what this actor did."),
]
Instant = Annotated[
    datetime, BeforeValidator(_instant), WithJsonSchema({"type": "string", "format": "date-time"}, mode="validation")
]
Since = Annotated[Instant | Absent, Query(description="Only entries at or after this time; RFC 3339 with an offset.")]
Until = Annotated[Instant | Absent, Query(description="Only entries before this time; RFC 3339 with an offset.")]
AsOf = Annotated[
    Instant | Absent, Query(description="What was in effect at this time instead of now; RFC 3339 with an offset.")
]
After = Annotated[int, Query(ge=0, le=POSITION_MAX, description="Only entries after this position of the log.")]
Limit = Annotated[int, Query(ge=1, le=1000, description="At most this many entries.")]
ModelName = Annotated[str, Query(min_length=1, max_length=256, description="Name of a model in the catalogue.")]

Moment = Annotated[datetime, AfterValidator(_in_utc)]


class CredentialBody(BaseModel):
    """The key and settings of a credential. They replace the old ones completely: a setting left out is removed."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        hide_input_in_errors=True,
        json_schema_extra={
            "examples": [{"api_key": "sk-example-0123456789", "endpoint": "https://llm.example.com/v1"}]
        },
    )

    api_key: Annotated[
        SecretStr,
        WithJsonSchema(
            {
                "type": "string",
                "format": "password",
                "writeOnly": True,
                "pattern": f"^\\s*[\\x21-\\x7e]{{1,{KEY_MAX}}}\\s*$",
                "description": f"The provider's key, without spaces; {KEY_MIN} to {KEY_MAX} characters (vllm: from 1).",
            }
        ),
    ]
    endpoint: str | None = Field(
        None,
        description="Address to use instead of the provider's own: https, for vllm also http. Kept as the address its "
        "API begins at.",
    )
    api_version: str | None = Field(None, description="azure only, and required there; such as 2024-10-21.")
    deployment_name: str | None = Field(None, description="azure only, and required there.")


class CredentialSetAnswer(BaseModel):
    """The credential that was set."""

    tenant_id: str
    provider: str
    masked_key: str = Field(description="Three dots and the last four characters.")
    message: str
    set_at: Moment
    version: int
    warnings: list[str] = Field(
        description="What may be wrong although it was taken, such as a key that looks cut off."
    )


class CredentialDeletedAnswer(BaseModel):
    """The credential that was deleted."""

    tenant_id: str
    provider: str
    message: str


class CredentialCheckAnswer(BaseModel):
    """The provider's word on a stored key. accepted: false where it rejects the key."""

    tenant_id: str
    provider: str
    version: int
    accepted: bool


class CredentialView(BaseModel):
    """One credential of a tenant."""

    provider: str
    masked_key: str
    encryption_status: Literal["encrypted", "unreadable"]
    state: CredentialState = Field(
        description="`untested`: no call has been made with this key and these settings yet. `credential-rejected`: "
        "the provider refused this version and has not taken it since; it is still tried. `unreadable`: it cannot be "
        "opened."
    )
    configured_at: Moment = Field(description="When key or settings were last set; rotation does not move it.")
    config: dict[SettingName, str] = Field(description="The settings as they were set; others are absent.")
    version: int
    key_id: str = Field(description="Names the encryption key that opens it.")
    last_used_at: Moment | None = Field(
        description="When the last call with this key and these settings ended that was counted; null: none was."
    )


class CredentialList(BaseModel):
    """All credentials of a tenant, by provider."""

    credentials: list[CredentialView]


class AuditEntryView(BaseModel):
    """One event: who did what to which credential, and when."""

    position: int = Field(description="Place in the log, counted from 1.")
    timestamp: Moment
    action: Action
    outcome: Outcome
    tenant_id: str | None = Field(description="Null where no credential is concerned.")
    provider: str | None
    version: int
    actor: str | None = Field(description="Name of the key that was used; `anonymous` without a valid one.")
    role: str
    source: str = Field(description="api, cli, console, rotation or service.")
    client_address: str | None
    reason: str | None = Field(description="What the caller said in X-Audit-Reason.")
    request_id: str
    command_id: str
    causation_id: str | None = Field(description="The command id of what caused the command, such as a rotation.")
    node_time: Moment = Field(description="As the clock of the node that wrote the event told it.")
    masked_key: str | None
    key_id: str | None
    fingerprint: str | None = Field(
        description="The same for the same API key, whichever tenant has it and whichever encryption key seals it."
    )
    details: dict[str, str | int | float] = Field(description="What belongs to this action alone, such as counts.")
    erased: list[str] = Field(
        description="Members that were recorded and can no longer be read: null, or missing from `details`."
    )


class AuditPage(BaseModel):
    """Entries in the order of the log. `next`: give it as `after` for the next page; null at the end.

    A search for texts may return a page with few entries, or none, that still has a next one.
    """

    entries: list[AuditEntryView]
    next: int | None


class RefusalView(BaseModel):
    """Why no key would serve a call."""

    code: str
    detail: str


class ResolutionAnswer(BaseModel):
    """The key and the address that a call would use. Nothing was decrypted or sent."""

    model: str
    adapter: Adapter
    provider: str
    source: Source | Literal["none"]
    endpoint: str | None
    version: int | None
    key_id: str | None
    refusal: RefusalView | None
