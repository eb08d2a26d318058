"""The `keyledger` command: the groups of commands, and how every fault becomes one line and an exit code.

Promises: nothing heavy is imported before a command needs it; no traceback and no secret reaches the terminal; the exit
code is one of `scripts.terminal.exits`.
"""

import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, NoReturn

import typer
from typer._click.exceptions import UsageError  # its own copy; it shows no other name for it
from typer.core import TyperGroup

from domain.errors import ErrorCode, ServiceError, StoreUnavailableError
from scripts.commands import (
    audit,
    audit_evidence,
    audit_export,
    audit_usage,
    backup,
    config_check,
    credentials,
    database,
    doctor,
    fleet,
    generate_keys,
    keys,
    projections,
    reload,
    restore,
    run,
    serve,
    verify,
)
from scripts.terminal.exits import CommandError, Exit
from scripts.terminal.inherited import settle
from scripts.terminal.output import say

_NO_DATABASE = (
    "the database stopped answering while the command ran, or took longer than its time limit; what was done until then"
    " stays: run the command again"
)
_CONFLICTS = frozenset({ErrorCode.VERSION_CONFLICT, ErrorCode.IDEMPOTENCY_KEY_REUSED, ErrorCode.REPLAY_CONFLICT})


class _WithoutKeys(TyperGroup):
    """Says what is wrong with a command line without repeating an API key that was given in a wrong place."""

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

        said = error.format_message()
        if masked(said) == said:
            raise
        raise UsageError(masked(said), error.ctx) from None


app = typer.Typer(
    name="keyledger",
    cls=_WithoutKeys,
    help="Per-tenant API keys for LLM providers, kept in an append-only, encrypted, provable log.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # its help takes twice as long to load
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("serve")(serve.serve)
app.command("reload")(reload.reload)
app.command("run")(run.run)
app.command("generate-encryption-key")(generate_keys.generate_encryption_key)
app.add_typer(generate_keys.api_keys, name="api-keys")
credentials.app.command("find")(fleet.find)
app.add_typer(credentials.app, name="credentials")
app.add_typer(fleet.tenants, name="tenants")
audit.app.command("export")(audit_export.export)
audit.app.command("usage")(audit_usage.usage)
audit.app.command("generate-signing-key")(audit_evidence.generate_signing_key)
audit.app.command("public-key")(audit_evidence.public_key)
audit.app.command("bundle")(audit_evidence.bundle)
audit.app.command("verify")(audit_evidence.verify)
audit.app.command("witness")(audit_evidence.witness)
app.add_typer(audit.app, name="audit")
app.command("history")(audit.history)
app.add_typer(keys.app, name="keys")
app.add_typer(database.app, name="database")
app.command("backup")(backup.backup)
app.add_typer(restore.app, name="restore")
app.add_typer(projections.app, name="projections")
app.command("replay")(projections.replay)
app.command("verify")(verify.verify)
app.add_typer(config_check.app, name="config")
app.command("doctor")(doctor.doctor)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit. `arguments` default to those of the process, which is then ours to settle."""
    if arguments is None:
        settle()
    # That the database does not answer a command says in words of its own; a service has handlers that log it.
    logging.getLogger("keyledger.store").addHandler(logging.NullHandler())
    try:
        app(list(arguments) if arguments is not None else None, prog_name="keyledger")
    except Exception as error:  # noqa: BLE001  the last place where a fault can become a line instead of a traceback
        code, lines = _ending(error)
        for line in lines:
            say(f"keyledger: {line}")
        sys.exit(code)
    sys.exit(Exit.OK)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(version("keyledger"))
        raise typer.Exit


@app.callback()
def _options(
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


def _ending(error: Exception) -> tuple[Exit, Sequence[str]]:
    """Return the exit code for an error and what to say. Nothing of an error that is not ours is quoted."""
    if isinstance(error, CommandError):
        return error.code, error.lines
    if isinstance(error, StoreUnavailableError):
        return Exit.UNREACHABLE, [error.reason or _NO_DATABASE]
    if isinstance(error, ServiceError):
        return Exit.CONFLICT if error.code in _CONFLICTS else Exit.REFUSED, [error.detail]
    return _ending_at_start(error)


def _ending_at_start(error: Exception) -> tuple[Exit, Sequence[str]]:
    import psycopg

    from keyledger.settings.errors import SettingsError
    from keyledger.start_error import StartError

    if isinstance(error, SettingsError):
        return Exit.REFUSED, error.lines
    if isinstance(error, StartError):
        return Exit.REFUSED, [str(error)]
    if isinstance(error, psycopg.OperationalError):
        return Exit.UNREACHABLE, ["the database does not answer"]
    return Exit.FAULT_FOUND, [f"unexpected fault, {type(error).__name__} at {_place(error)}; please report it"]


def _place(error: Exception) -> str:
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    if frame is None:
        return "an unknown place"
    return f"{frame.tb_frame.f_globals.get('__name__', '?')}:{frame.tb_lineno}"


if __name__ == "__main__":
    main()
