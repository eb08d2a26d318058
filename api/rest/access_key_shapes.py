"""The JSON of access keys."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

from fastapi import Path
from pydantic import BaseModel, ConfigDict, Field, SecretStr, WithJsonSchema

from api.rest.schemas import Instant, Moment
from domain.access.access_key import AccessKey
from domain.access.key_limits import MONEY_PATTERN, money_text
from domain.access.roles import Role
from domain.access.service import NAME_PATTERN, Issued

_LIMIT_MAX = 1_000_000
KeyName = Annotated[str, Path(description="Name or id of the access key.", examples=["billing-app"])]
_Names = list[str] | None
_Limit = Annotated[int, Field(ge=0, le=_LIMIT_MAX)]
_Tokens = Annotated[int, Field(ge=0, le=10**15)]
_Money = Annotated[str, Field(pattern=f"^(?:{MONEY_PATTERN})$")]

SCOPE_EXAMPLE: dict[str, Any] = {
    "tenants": ["3f0c8a52-9b1d-4e6f-8a27-5d4c3b2a1f09"],
    "providers": ["openai"],
    "models": ["gpt-4o*"],
    "surfaces": ["openai"],
    "native_routes": None,
    "networks": ["192.0.2.0/24"],
    "expires_at": "2027-01-31T12:00:00Z",
    "requests_per_minute": 600,
    "concurrent_calls": 20,
    "tokens_per_day": 2000000,
    "spend_per_month": "250.00",
}
KEY_EXAMPLE = {
    "id": "0a4f7c52-1b1d-5e6f-8a27-5d4c3b2a1f09",
    "name": "billing-app",
    "role": "runtime",
    "state": "active",
    "version": 1,
    **SCOPE_EXAMPLE,
    "previous_token_until": None,
    "changed_at": "2026-01-31T12:00:00Z",
    "last_used_at": "2026-01-31T12:30:00Z",
}
ISSUED_EXAMPLE = {**KEY_EXAMPLE, "token": "klk_..."}
HOURS_EXAMPLE = {
    "usage": [{"hour": "2026-01-31T12:00:00Z", "requests": 120, "last_used_at": "2026-01-31T12:30:00Z"}],
    "next": None,
}
LIST_EXAMPLE = {"access_keys": [KEY_EXAMPLE], "next": None, "environment": [{"name": "super", "role": "sysadmin"}]}


class AccessKeyState(StrEnum):
    """Whether a key may be used."""

    ACTIVE = "active"
    EXPIRED = "expired"
    REVOKED = "revoked"


def _strict(example: dict[str, Any]) -> ConfigDict:
    return ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True, json_schema_extra={"examples": [example]})


class AccessKeyChange(BaseModel):
    """The members of a key to change. One that is left out stays; null means: not limited, or never."""

    model_config = _strict({"models": ["gpt-4o*"], "requests_per_minute": 600})

    tenants: _Names = Field(None, description="UUIDs. null: all, as for the other lists.")
    providers: _Names = None
    models: _Names = Field(None, description="Names as GET .../models shows them; * stands for any characters.")
    surfaces: _Names = Field(None, description="openai, native.")
    native_routes: _Names = Field(None, description="METHOD:path, such as GET:v1/files/*; ** at the end: any more.")
    networks: _Names = Field(None, description="Networks in CIDR notation that requests come from.")
    expires_at: Instant | None = None
    requests_per_minute: _Limit = Field(0, description="0: no limit. Counted by each process of the service.")
    concurrent_calls: _Limit = Field(0, description="0: no limit. Counted by each process of the service.")
    tokens_per_day: _Tokens = Field(0, description="0: no limit. Input and output of a day in UTC, over all nodes.")
    spend_per_month: _Money | None = Field(
        None, description="An amount in the currency of the price table, of a month in UTC, over all nodes."
    )


class AccessKeyBody(AccessKeyChange):
    """An access key to create."""

    model_config = _strict({"name": "billing-app", "role": "runtime", **SCOPE_EXAMPLE})

    name: Annotated[str, WithJsonSchema({"type": "string", "pattern": f"^{NAME_PATTERN}$"})]
    role: Annotated[Role, Field(strict=False)]


class RotationBody(BaseModel):
    """How a key gets another token. old_token_until: when the present one stops; null for at once."""

    model_config = _strict({"old_token_until": "2026-02-07T12:00:00Z"})

    old_token_until: Instant | None = None


class LeakedToken(BaseModel):
    """A token that was found where it should not be."""

    model_config = _strict({"token": "klk_..."})

    token: Annotated[SecretStr, WithJsonSchema({"type": "string", "format": "password", "writeOnly": True})]


class AccessKeyView(BaseModel):
    """An access key, without its token."""

    id: str
    name: str
    role: Role
    state: AccessKeyState
    version: int
    tenants: _Names
    providers: _Names
    models: _Names
    surfaces: _Names
    native_routes: _Names
    networks: _Names
    expires_at: Moment | None
    requests_per_minute: int
    concurrent_calls: int
    tokens_per_day: int
    spend_per_month: str | None
    previous_token_until: Moment | None = Field(description="Until when the token before the last rotation works.")
    changed_at: Moment
    last_used_at: Moment | None = Field(description="When a request with it was last admitted; null: none was counted.")


class AccessKeyHour(BaseModel):
    """The requests that a key made within an hour."""

    hour: Moment = Field(description="Its first moment.")
    requests: int
    last_used_at: Moment


class AccessKeyHours(BaseModel):
    """The hours in which a key was used, oldest first. `next`: the `since` of the next page; null at the end."""

    usage: list[AccessKeyHour]
    next: Moment | None


class IssuedAccessKey(AccessKeyView):
    """An access key with its token, which is shown only once.

    `token` is null where the command was repeated: rotate the key to get another one.
    """

    token: str | None


class EnvironmentKey(BaseModel):
    """A key from the settings of the service: SUPER_API_KEY or one of API_KEYS."""

    name: str
    role: Role


class AccessKeyPage(BaseModel):
    """Access keys by name. `next`: give it as `after` for the next page; null at the end.

    `environment`: the keys from the settings of this node, which are not in the log.
    """

    access_keys: list[AccessKeyView]
    next: str | None
    environment: list[EnvironmentKey]


def view_of(key: AccessKey, state: AccessKeyState, last_used_at: datetime | None = None) -> AccessKeyView:
    """Return a key as it is shown. last_used_at: None where no use was counted."""
    scope, limits = key.terms.scope, key.terms.limits
    return AccessKeyView(
        id=key.key_id,
        name=key.name,
        role=key.role,
        state=state,
        version=key.version,
        tenants=_listed(scope.tenants),
        providers=_listed(scope.providers),
        models=_listed(scope.models),
        surfaces=_listed(scope.surfaces),
        native_routes=_listed(scope.native_routes),
        networks=_listed(scope.networks),
        expires_at=key.terms.expires_at,
        requests_per_minute=limits.requests_per_minute,
        concurrent_calls=limits.concurrent_calls,
        tokens_per_day=limits.tokens_per_day,
        spend_per_month=money_text(limits.spend_per_month),
        previous_token_until=key.previous_until,
        changed_at=key.changed_at,
        last_used_at=last_used_at,
    )


def issued_view_of(issued: Issued, state: AccessKeyState) -> IssuedAccessKey:
    """Return a key with its token: the one place where a token becomes plain text."""
    token = issued.token.reveal() if issued.token is not None else None
    return IssuedAccessKey(**view_of(issued.key, state).model_dump(), token=token)


def _listed(names: tuple[str, ...] | None) -> list[str] | None:
    return None if names is None else list(names)
