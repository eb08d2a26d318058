"""`access create|list|show|rotate|revoke`: manages callers' access keys, over the REST API of a running service.

Promises: a token is printed once, alone on stdout, by the command that made it. A token that was found somewhere is
read from stdin, also out of a line that it was found in, never from the command line, and is not printed.
"""

import sys
from datetime import UTC, datetime, timedelta
from typing import Annotated, cast
from urllib.parse import quote

import typer

from domain.access.token import tokens_in
from domain.text.spans import span_of
from scripts.terminal.exits import CommandError, Exit
from scripts.terminal.members import print_members, shown
from scripts.terminal.output import JsonOption, Table, WideOption, print_json, print_table, say
from scripts.terminal.proposed import require_carried_out
from scripts.terminal.reason import ReasonOption, reason_header
from scripts.terminal.service_client import DEFAULT_URL, KeyFileOption, ServiceClient, UrlOption, admin_key

PATH = "/api/v1/sysadmin/access-keys"
Name = Annotated[str, typer.Argument(metavar="NAME", help="The key's name or id.", show_default=False)]
_Repeated = Annotated[list[str] | None, typer.Option(help="May be repeated; left out: all.", show_default=False)]
_COLUMNS = ("name", "role", "state", "version", "tenants", "providers", "expires_at", "last_used_at")


def create(
    *,
    name: Name,
    role: Annotated[str, typer.Option(help="sysadmin, auditor, operator, tenant-admin or runtime.")],
    tenant: _Repeated = None,
    provider: _Repeated = None,
    model: _Repeated = None,
    surface: _Repeated = None,
    native_route: _Repeated = None,
    network: _Repeated = None,
    expires_in: Annotated[
        str | None, typer.Option(metavar="TIME", help="Such as 90d or 12h; left out: never.", show_default=False)
    ] = None,
    requests_per_minute: Annotated[int, typer.Option(min=0, help="0: no limit.")] = 0,
    concurrent_calls: Annotated[int, typer.Option(min=0, help="0: no limit.")] = 0,
    tokens_per_day: Annotated[int, typer.Option(min=0, help="Input and output; 0: no limit.")] = 0,
    spend_per_month: Annotated[
        str | None, typer.Option(metavar="AMOUNT", help="Such as 250.00; needs surfaces without native.")
    ] = None,
    reason: ReasonOption = None,
    url: UrlOption = DEFAULT_URL,
    api_key_file: KeyFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Create an access key. Prints its token, once."""
    body: dict[str, object] = {
        "name": name,
        "role": role,
        "tenants": tenant,
        "providers": provider,
        "models": model,
        "surfaces": surface,
        "native_routes": native_route,
        "networks": network,
        "expires_at": _time_in(expires_in, "--expires-in"),
        "requests_per_minute": requests_per_minute,
        "concurrent_calls": concurrent_calls,
        "tokens_per_day": tokens_per_day,
        "spend_per_month": spend_per_month,
    }
    with ServiceClient(url, admin_key(api_key_file)) as service:
        issued = service.call("POST", PATH, body=body, headers=reason_header(reason))
    _print_issued(issued, as_json=as_json)


def list_keys(
    *,
    unused: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="Only active keys not used or changed for this long, such as 90d.", show_default=False
        ),
    ] = None,
    url: UrlOption = DEFAULT_URL,
    api_key_file: KeyFileOption = None,
    as_json: JsonOption = False,
    wide: WideOption = False,
) -> None:
    """List the access keys, and those that come from the settings of the service."""
    with ServiceClient(url, admin_key(api_key_file)) as service:
        since = _time_before(unused, "--unused")
        found = service.pages(PATH, "access_keys", {} if since is None else {"unused_since": since})
        settings = cast("list[dict[str, object]]", service.call("GET", f"{PATH}?limit=1")["environment"])
    if as_json:
        print_json({"access_keys": [dict(one) for one in found], "environment": settings})
        return
    if unused is not None:
        settings = []  # nothing is counted for them
        if not found:
            say("every active access key was used or changed since")
            return
    named = [tuple(shown(one.get(column)) for column in _COLUMNS) for one in found]
    from_settings = [(str(one["name"]), str(one["role"]), "in the settings", *[""] * 5) for one in settings]
    print_table(Table(_COLUMNS, [*named, *from_settings], ("last_used_at", "providers")), wide=wide)


def show(
    *,
    name: Name,
    url: UrlOption = DEFAULT_URL,
    api_key_file: KeyFileOption = None,
    as_json: JsonOption = False,
    wide: WideOption = False,
) -> None:
    """Show an access key that is not revoked."""
    with ServiceClient(url, admin_key(api_key_file)) as service:
        found = service.call("GET", _path(name))
    print_members(found, as_json=as_json, wide=wide)


def rotate(
    *,
    name: Name,
    old_token_for: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="The present token works this long, such as 24h.", show_default=False),
    ] = None,
    reason: ReasonOption = None,
    url: UrlOption = DEFAULT_URL,
    api_key_file: KeyFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give an access key another token. Prints it, once."""
    body = {"old_token_until": _time_in(old_token_for, "--old-token-for")}
    with ServiceClient(url, admin_key(api_key_file)) as service:
        issued = service.call("POST", f"{_path(name)}/rotate", body=body, headers=reason_header(reason))
    _print_issued(issued, as_json=as_json)


def revoke(
    *,
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="The key's name or id.", show_default=False)] = "",
    token_stdin: Annotated[bool, typer.Option("--token-stdin", help="Read a token of the key from stdin.")] = False,
    reason: ReasonOption = None,
    url: UrlOption = DEFAULT_URL,
    api_key_file: KeyFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Revoke an access key by its name, or by a token that was found somewhere."""
    if bool(name) == token_stdin:
        raise CommandError(Exit.USAGE, "give either NAME or --token-stdin; a token is never read from the command line")
    with ServiceClient(url, admin_key(api_key_file)) as service:
        if token_stdin:
            token = {"token": _found_token(sys.stdin.read())}
            revoked = service.call("POST", f"{PATH}/by-token/revoke", body=token, headers=reason_header(reason))
        else:
            revoked = service.call("DELETE", _path(name), headers=reason_header(reason))
    if as_json:
        print_json(revoked)
    else:
        say(f"{revoked['name']} is revoked; no node admits it any more")


def _found_token(text: str) -> str:
    """Return the token in a text that was found somewhere. Raises CommandError unless there is exactly one."""
    tokens = tokens_in(text.encode(errors="replace"))
    if len(tokens) == 1:
        return next(iter(tokens)).decode()
    if tokens:
        raise CommandError(Exit.USAGE, f"there are {len(tokens)} tokens on stdin; revoke one at a time")
    raise CommandError(Exit.USAGE, "there is no token of an access key on stdin: klk_ and 49 characters, unabridged")


def _path(name: str) -> str:
    return f"{PATH}/{quote(name, safe='')}"


def _print_issued(issued: dict[str, object], *, as_json: bool) -> None:
    require_carried_out(issued, as_json=as_json)
    if as_json:
        print_json(issued)
        return
    say(f"The token of {issued['name']} ({issued['role']}), shown only once; send it as X-API-Key:")
    typer.echo(str(issued["token"]))


def _time_in(span: str | None, option: str) -> str | None:
    """Return the time after a span such as `90d`, RFC 3339. Raises CommandError."""
    return None if span is None else (datetime.now(UTC) + _span(span, option)).isoformat()


def _time_before(span: str | None, option: str) -> str | None:
    """Return the time before a span such as `90d`, RFC 3339. Raises CommandError."""
    return None if span is None else (datetime.now(UTC) - _span(span, option)).isoformat()


def _span(span: str, option: str) -> timedelta:
    length = span_of(span)
    if not length:
        raise CommandError(Exit.USAGE, f"{option} must be a number of minutes, hours or days, such as 30m, 12h or 90d")
    return length
