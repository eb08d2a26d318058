"""Tokens and cost of calls by hour, tenant, provider, version of the credential, service key and model.

Promises: as `usage`. Counts that a provider did not send, and costs of models without a price, are counted as unknown
and left out of the sums.
"""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field, StringConstraints

from api.front.exchange import AUTHENTICATED, Exchange, ExchangeOf
from api.front.operation import Operation
from api.front.paths import AUDIT
from api.front.services import Services, ServicesOf
from api.front.validation import only_query
from api.rest.audit.usage import record_reading
from api.rest.examples import TOKENS
from api.rest.next_page import link_next
from api.rest.openapi import ADMIN, answer, problems
from api.rest.schemas import Absent, Limit, Moment, ProviderFilter, Since, TenantFilter, Until
from domain.audit.token_usage import CURSOR_PATTERN, TokenFilter, TokenPlace, TokenRecord

router = APIRouter(route_class=Operation, prefix=AUDIT, tags=["audit"], dependencies=[AUTHENTICATED])

AfterTokens = Annotated[
    Annotated[str, StringConstraints(pattern=CURSOR_PATTERN)] | Absent,
    Query(description="Only records after this one: the `next` of the page before.", examples=[TOKENS["next"]]),
]
VersionFilter = Annotated[
    Annotated[int, Field(ge=0, le=10**9)] | Absent,
    Query(description="Only this version of credentials; 0 for the global key."),
]
KeyFilter = Annotated[
    Annotated[str, StringConstraints(pattern=r"^[\x21-\x7e]{1,128}$")] | Absent,
    Query(description="Only calls with the service key of this name."),
]
ModelFilter = Annotated[
    Annotated[str, StringConstraints(pattern=r"^[\x21-\x7e]{1,200}$")] | Absent,
    Query(description="Only this model, by its name in the records."),
]


class TokenUsageView(BaseModel):
    """The use of a model by one service key, with one version of a credential within an hour."""

    hour: Moment = Field(description="Its first moment.")
    tenant_id: str
    provider: str
    version: int = Field(description="Of the credential that was used; 0 for the global key.")
    access_key: str = Field(description="Name of the service key that called; empty for callers without one.")
    model: str = Field(description="Empty for a model that neither the catalogue nor the price table knows.")
    calls: int
    failures: int
    calls_without_tokens: int = Field(description="Calls whose provider sent no token counts that can be used.")
    calls_without_cost: int = Field(description="Calls whose tokens, or the price of whose model, are not known.")
    input_tokens: int = Field(description="All input, including what was read from a cache or written to one.")
    output_tokens: int = Field(description="All output, including reasoning.")
    cached_tokens: int
    cache_creation_tokens: int
    reasoning_tokens: int
    cost: str | None = Field(description="Of all calls whose cost is known, as a decimal; null if it is of none.")
    currency: str
    last_used_at: Moment


class TokenUsagePage(BaseModel):
    """Records, oldest hour first. `next`: give it as `after` for the next page; null at the end."""

    usage: list[TokenUsageView]
    prices: str = Field(description="The price table in force, for calls that are made now.")
    next: str | None


@router.get(
    "/usage/tokens",
    operation_id="listTokenUsage",
    summary="Show tokens and cost",
    responses={200: answer(TOKENS), **problems(*ADMIN)},
    dependencies=[
        only_query("tenant_id", "provider", "version", "access_key", "model", "since", "until", "limit", "after")
    ],
)
def list_token_usage(
    *,
    services: ServicesOf,
    exchange: ExchangeOf,
    request: Request,
    response: Response,
    tenant_id: TenantFilter = None,
    provider: ProviderFilter = None,
    version: VersionFilter = None,
    access_key: KeyFilter = None,
    model: ModelFilter = None,
    since: Since = None,
    until: Until = None,
    after: AfterTokens = None,
    limit: Limit = 100,
) -> TokenUsagePage:
    """Return the records that fit, oldest hour first. Follow `next`, or the Link header, for more."""
    wanted = TokenFilter(tenant_id, provider, version, access_key, model, since, until, place_of(after), limit)
    return token_page(services, exchange, wanted, request, response)


def place_of(after: str | None) -> TokenPlace | None:
    """Return the place of a cursor."""
    return None if after is None else TokenPlace.read(after)


def token_page(
    services: Services, exchange: Exchange, wanted: TokenFilter, request: Request, response: Response
) -> TokenUsagePage:
    """Return one page and record that it was read."""
    record_reading(services, exchange, wanted)
    found = services.token_usage.page(wanted)
    following = found[-1].place.cursor() if len(found) >= wanted.limit else None
    link_next(request, response, following)
    return TokenUsagePage(usage=[_view(record) for record in found], prices=services.prices.source, next=following)


def _view(record: TokenRecord) -> TokenUsageView:
    tokens = record.tokens
    is_known = record.cost or not record.unpriced
    return TokenUsageView(
        **record.place._asdict(),
        calls=record.calls,
        failures=record.failures,
        calls_without_tokens=record.unknown,
        calls_without_cost=record.unpriced,
        input_tokens=tokens.input,
        output_tokens=tokens.output,
        cached_tokens=tokens.cached,
        cache_creation_tokens=tokens.cache_creation,
        reasoning_tokens=tokens.reasoning,
        cost=format(record.cost, "f") if is_known else None,
        last_used_at=record.last_used_at,
    )
