"""The `keyledger` command: the table of all commands, and how every error becomes one line and an exit code.

Promises: a command is imported only when it is named, and what it needs only when it runs; no traceback and no secret
reaches the terminal; the exit code is one of `scripts.terminal.exits`.
"""

import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Annotated, Any, NoReturn

import typer
from typer._click.exceptions import UsageError  # its own copy; it shows no other name for it
from typer.core import TyperGroup

from scripts.terminal.endings import say_ending
from scripts.terminal.exits import Exit
from scripts.terminal.process_setup import set_up_process


class _WithoutKeys(TyperGroup):
    """Reports usage errors without repeating an API key, or what a terminal obeys, that was passed as an argument."""

    def make_context(self, *arguments: Any, **options: Any) -> Any:
        with _masked():
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: Any) -> Any:
        with _masked():
            return super().invoke(ctx)


@contextmanager
def _masked() -> Iterator[None]:
    try:
        yield
    except UsageError as error:
        from domain.credentials.key_shapes import masked
        from domain.text.visible_text import visible

        said = error.format_message()
        safe = "\n".join(map(visible, masked(said).split("\n")))
        if safe == said:
            raise
        raise UsageError(safe, error.ctx) from None


_GROUPS: Mapping[str, str] = {
    "access": "Manage the access keys of callers.",
    "api-keys": "Create named API keys, each with a role.",
    "credentials": "Manage a tenant's credentials.",
    "tenants": "Register, freeze and limit tenants.",
    "proposals": "Approve or reject commands that need a second person.",
    "audit": "Search, export and verify the audit trail.",
    "keys": "List, rotate and retire encryption keys.",
    "database": "Start and stop the embedded PostgreSQL.",
    "restore": "Restore a backup.",
    "privacy": "Erase people, and report what is kept about them.",
    "projections": "List the projections of the log.",
    "config": "Check the settings of the service.",
}
_COMMANDS: Mapping[str, str] = {
    "serve": "serve:serve",
    "reload": "reload:reload",
    "run": "run:run",
    "generate-encryption-key": "generate_encryption_key:generate_encryption_key",
    "access create": "access:create",
    "access list": "access:list_keys",
    "access show": "access:show",
    "access rotate": "access:rotate",
    "access revoke": "access:revoke",
    "api-keys create": "api_keys:create",
    "credentials set": "credentials:set_credential",
    "credentials list": "credentials:list_credentials",
    "credentials show": "credentials:show",
    "credentials delete": "credentials:delete",
    "credentials find": "credentials_find:find",
    "credentials revoke": "credentials_revoke:revoke",
    "tenants list": "tenants:list_tenants",
    "tenants show": "tenants:show",
    "tenants register": "tenants:register",
    "tenants freeze": "tenants:freeze",
    "tenants thaw": "tenants:thaw",
    "tenants policy": "tenants:policy",
    "proposals list": "proposals:list_proposals",
    "proposals show": "proposals:show",
    "proposals approve": "proposals:approve",
    "proposals reject": "proposals:reject",
    "audit search": "audit:search",
    "audit show": "audit:show",
    "audit export": "audit_export:export",
    "audit usage": "audit_usage:usage",
    "audit tokens": "audit_tokens:tokens",
    "audit generate-signing-key": "audit_signing_keys:generate_signing_key",
    "audit public-key": "audit_signing_keys:public_key",
    "audit bundle": "audit_bundle:bundle",
    "audit verify": "audit_verify:verify",
    "audit witness": "audit_witness:witness",
    "history": "history:history",
    "keys list": "keys:list_keys",
    "keys add-next": "keys:add_next",
    "keys adopt-next": "keys:adopt_next",
    "keys rotate": "keys_rotate:rotate",
    "keys verify": "keys_verify:verify",
    "keys retire": "keys:retire",
    "database url": "database:url",
    "database start": "database:start",
    "database stop": "database:stop",
    "backup": "backup:backup",
    "restore from": "restore:from_file",
    "restore accept": "restore:accept",
    "privacy erase": "privacy:erase",
    "privacy report": "privacy:report",
    "projections list": "projections:list_projections",
    "replay": "replay:replay",
    "verify": "verify:verify",
    "config check": "config_check:check",
    "doctor": "doctor:doctor",
}
"""Every command by its words, in the order of `--help`, with the module and the function that run it.

A new command is one line here and a module of its name in `scripts/commands`.
"""
_EXTRA_ARGUMENTS = frozenset({"credentials set"})
"""These commands reject extra arguments themselves: the parser's own message would repeat a key among them."""


def _register(app: typer.Typer, commands: Mapping[str, str]) -> None:
    groups = {name: typer.Typer(no_args_is_help=True, rich_markup_mode=None, callback=_group) for name in _GROUPS}
    for words, place in commands.items():
        group, _, name = words.rpartition(" ")
        settings = {"allow_extra_args": words in _EXTRA_ARGUMENTS}
        (groups[group] if group else app).command(name, context_settings=settings)(_function(place))
    for name, help_text in _GROUPS.items():
        if groups[name].registered_commands:
            app.add_typer(groups[name], name=name, help=help_text)


def _function(place: str) -> Callable[..., None]:
    module, _, name = place.partition(":")
    function: Callable[..., None] = getattr(import_module(f"scripts.commands.{module}"), name)
    return function


def _named(arguments: Sequence[str]) -> Mapping[str, str]:
    """Return the one command that the arguments begin with, or all, for their help and for a misspelled one."""
    for words in (" ".join(arguments[:2]), " ".join(arguments[:1])):
        if words in _COMMANDS:
            return {words: _COMMANDS[words]}
    return _COMMANDS


def _group() -> None:
    """Without a callback, Typer turns a group with one command into that command."""


def command_line(arguments: Sequence[str] = ()) -> typer.Typer:
    """Return the parser for these arguments; without arguments, the one that knows every command."""
    app = typer.Typer(
        name="keyledger",
        cls=_WithoutKeys,
        help="Per-tenant API keys for LLM providers, in an append-only, encrypted, verifiable log.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,  # its help takes twice as long to load
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    _register(app, _named(arguments))
    return app


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit.

    arguments: by default those of the process, whose standard streams and signals are then set up first.
    """
    if arguments is None:
        set_up_process()
    # Commands report a database that does not answer themselves; a service has handlers that log it.
    logging.getLogger("keyledger.store").addHandler(logging.NullHandler())
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        command_line(given)(given, prog_name="keyledger")
    except Exception as error:  # noqa: BLE001  the last place where an error can become a line instead of a traceback
        sys.exit(say_ending(error))
    sys.exit(Exit.OK)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(version("keyledger"))
        raise typer.Exit


def _options(
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


if __name__ == "__main__":
    main()
