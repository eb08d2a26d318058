"""`credentials set|list|show|delete`: manages a tenant's credentials, over the REST API of a running service.

Promises: a provider's key is read from a prompt without echo, from stdin or from a file, never from the command line,
and is not printed. `--json` prints the service's response.
Refuses: a key among the arguments, without repeating it.
"""

import sys
from getpass import getpass
from pathlib import Path
from typing import Annotated, cast
from urllib.parse import quote

import typer

from domain.credentials.secret import Secret
from scripts.terminal.confirmation import YesOption, confirm_by_typing
from scripts.terminal.exits import CommandError, Exit
from scripts.terminal.output import JsonOption, Table, WideOption, print_json, print_table, say
from scripts.terminal.proposed import require_carried_out
from scripts.terminal.reason import ReasonOption, reason_header
from scripts.terminal.service_client import (
    DEFAULT_URL,
    KeyFileOption,
    ServiceClient,
    UrlOption,
    admin_key,
    credential_path,
    read_secret_file,
)

Tenant = Annotated[str, typer.Argument(metavar="TENANT", help="The tenant's UUID.", show_default=False)]
ProviderName = Annotated[
    str, typer.Argument(metavar="PROVIDER", help="The provider's name, such as openai.", show_default=False)
]
IfMatch = Annotated[
    int | None,
    typer.Option("--if-match", min=1, help="Fail unless the credential is at this version.", show_default=False),
]


def set_credential(
    *,
    context: typer.Context,
    tenant_id: Tenant,
    provider: ProviderName,
    source: Annotated[str, typer.Argument(metavar="@FILE", help="File that holds the key, with a leading @.")] = "",
    stdin: Annotated[bool, typer.Option("--stdin", help="Read the key from stdin.")] = False,
    endpoint: Annotated[str | None, typer.Option(help="URL of the provider's API for this tenant.")] = None,
    api_version: Annotated[str | None, typer.Option(help="Version of the API (azure only).")] = None,
    deployment_name: Annotated[str | None, typer.Option(help="Name of the deployment (azure only).")] = None,
    if_match: IfMatch = None,
    reason: ReasonOption = None,
    url: UrlOption = DEFAULT_URL,
    api_key_file: KeyFileOption = None,
    as_json: JsonOption = False,
    wide: WideOption = False,
) -> None:
    """Set or replace a credential. Prompts for the provider's key, or reads it from --stdin or @FILE."""
    if context.args:
        raise CommandError(Exit.USAGE, "too many arguments; keys are never read from the command line")
    key = admin_key(api_key_file)
    body = {"api_key": _provider_key(source, stdin=stdin).reveal()}
    given = {"endpoint": endpoint, "api_version": api_version, "deployment_name": deployment_name}
    body |= {name: value for name, value in given.items() if value is not None}
    with ServiceClient(url, key) as service:
        answer = service.call(
            "PUT", credential_path(tenant_id, provider), body=body, headers=_headers(if_match, reason)
        )
    if as_json:
        print_json(answer)
    else:
        say(str(answer["message"]))
        print_table(Table(("provider", "key", "version", "set at"), [_cells(answer, _SET_CELLS)]), wide=wide)
    for warning in cast("list[str]", answer.get("warnings", [])):
        say(f"warning: {warning}")


def list_credentials(
    *,
    tenant_id: Tenant,
    as_of: Annotated[
        str | None,
        typer.Option(
            "--as-of",
            metavar="TIME",
            help="List what was in effect at this time, such as 2026-01-31T12:00:00Z.",
            show_default=False,
        ),
    ] = None,
    url: UrlOption = DEFAULT_URL,
    api_key_file: KeyFileOption = None,
    as_json: JsonOption = False,
    wide: WideOption = False,
) -> None:
    """List a tenant's credentials; keys are masked."""
    then = "" if as_of is None else f"?as_of={quote(as_of, safe='')}"
    with ServiceClient(url, admin_key(api_key_file)) as service:
        answer = service.call("GET", credential_path(tenant_id) + then)
    credentials = cast("list[dict[str, object]]", answer["credentials"])
    if as_json:
        print_json(answer)
    elif not credentials:
        say("the tenant has no credentials" if as_of is None else "the tenant had no credentials at that time")
    else:
        _print_credentials(credentials, wide=wide)


def show(
    tenant_id: Tenant,
    provider: ProviderName,
    url: UrlOption = DEFAULT_URL,
    api_key_file: KeyFileOption = None,
    as_json: JsonOption = False,
    wide: WideOption = False,
) -> None:
    """Show one credential; the key is masked."""
    with ServiceClient(url, admin_key(api_key_file)) as service:
        answer = service.call("GET", credential_path(tenant_id, provider))
    if as_json:
        print_json(answer)
    else:
        _print_credentials([answer], wide=wide)


def delete(
    *,
    tenant_id: Tenant,
    provider: ProviderName,
    yes: YesOption = False,
    if_match: IfMatch = None,
    reason: ReasonOption = None,
    url: UrlOption = DEFAULT_URL,
    api_key_file: KeyFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Delete a credential. The tenant's calls then use the global key, if one is configured."""
    key = admin_key(api_key_file)
    if not yes:
        confirm_by_typing(provider, f"Type {provider} to delete the credential", "nothing was deleted")
    with ServiceClient(url, key) as service:
        answer = service.call("DELETE", credential_path(tenant_id, provider), headers=_headers(if_match, reason))
    require_carried_out(answer, as_json=as_json)
    if as_json:
        print_json(answer)
    else:
        say(str(answer["message"]))


_SET_CELLS = ("provider", "masked_key", "version", "set_at")
_LISTED = {
    "provider": "provider",
    "masked_key": "key",
    "encryption_status": "encryption",
    "state": "state",
    "version": "version",
    "key_id": "sealed under",
    "configured_at": "set at",
    "last_used_at": "last used",
}


_LESS = ("settings", "set at", "sealed under", "encryption")


def _print_credentials(credentials: list[dict[str, object]], *, wide: bool) -> None:
    rows = [[*_cells(one, tuple(_LISTED)), _settings(one.get("config"))] for one in credentials]
    print_table(Table((*_LISTED.values(), "settings"), rows, _LESS), wide=wide)


def _cells(document: dict[str, object], names: tuple[str, ...]) -> list[str]:
    found = [document.get(name) for name in names]
    return ["" if value is None else str(value) for value in found]


def _settings(config: object) -> str:
    return ", ".join(f"{name}={value}" for name, value in config.items()) if isinstance(config, dict) else ""


def _headers(version: int | None, reason: str | None) -> dict[str, str]:
    expected = {} if version is None else {"If-Match": f'"v{version}"'}
    return expected | reason_header(reason)


def _provider_key(source: str, *, stdin: bool) -> Secret:
    if source and not source.startswith("@"):
        raise CommandError(
            Exit.USAGE,
            "keys are never read from the command line: omit the key to be prompted, or use @FILE or --stdin",
        )
    if source and stdin:
        raise CommandError(Exit.USAGE, "use @FILE or --stdin, not both")
    if source:
        return Secret(read_secret_file(Path(source[1:])))
    if not stdin and not sys.stdin.isatty():
        raise CommandError(Exit.USAGE, "there is no terminal to prompt for the key; use --stdin or @FILE")
    typed = sys.stdin.read() if stdin else getpass("API key (not shown): ")
    if not typed.strip():
        raise CommandError(Exit.USAGE, "the key is empty")
    return Secret(typed.strip())
