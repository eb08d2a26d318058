"""`audit tokens`: shows tokens and cost of calls by hour, over the REST API of a running service.

Promises: as `audit usage`. What is not known is shown as unknown, never as 0.
"""

from typing import Annotated
from urllib.parse import urlencode

import typer

from scripts.terminal.listing import print_usage
from scripts.terminal.output import JsonOption, WideOption
from scripts.terminal.service_client import DEFAULT_URL, KeyFileOption, ServiceClient, UrlOption, admin_key

PATH = "/api/v1/audit/usage/tokens"
_TIME = "such as 2026-01-31T12:00:00Z"
_COLUMNS = {
    "hour": "hour",
    "tenant_id": "tenant",
    "provider": "provider",
    "version": "version",
    "access_key": "key",
    "model": "model",
    "calls": "calls",
    "input_tokens": "input",
    "output_tokens": "output",
    "cached_tokens": "cached",
    "cache_creation_tokens": "cache creation",
    "reasoning_tokens": "reasoning",
    "cost": "cost",
    "currency": "currency",
    "calls_without_tokens": "tokens unknown",
    "calls_without_cost": "cost unknown",
}
_LESS = ("cache creation", "reasoning", "cached", "version", "tenant")


def tokens(
    *,
    tenant_id: Annotated[
        str | None, typer.Option("--tenant", help="Show only this tenant.", show_default=False)
    ] = None,
    provider: Annotated[str | None, typer.Option(help="Show only this provider.", show_default=False)] = None,
    version: Annotated[
        int | None, typer.Option(min=0, help="Show only this version of credentials; 0: the global key.")
    ] = None,
    access_key: Annotated[
        str | None, typer.Option("--access-key", help="Show only calls with the service key of this name.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Show only this model.", show_default=False)] = None,
    since: Annotated[str | None, typer.Option(metavar="TIME", help=f"Show hours from this time on, {_TIME}.")] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help=f"Show hours before this time, {_TIME}.")] = None,
    after: Annotated[str | None, typer.Option(metavar="NEXT", help="Continue after the previous page.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Show at most this many records.")] = 100,
    url: UrlOption = DEFAULT_URL,
    api_key_file: KeyFileOption = None,
    as_json: JsonOption = False,
    wide: WideOption = False,
) -> None:
    """Show tokens and cost by hour, tenant, provider, version, service key and model."""
    given = {"tenant_id": tenant_id, "provider": provider, "version": version, "access_key": access_key}
    given |= {"model": model, "since": since, "until": until, "after": after, "limit": limit}
    query = {name: str(value) for name, value in given.items() if value is not None}
    with ServiceClient(url, admin_key(api_key_file)) as service:
        answer = service.call("GET", f"{PATH}?{urlencode(query)}")
    print_usage(answer, _COLUMNS, _LESS, "no call was counted", after=after, as_json=as_json, wide=wide)
