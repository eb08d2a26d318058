"""`replay`: computes projections again from the log, without a service and without any key.

Promises: only the settings of the database and, where they are set, of the keys are read; with a key, the codes of all
events are checked first. A copy that differs from the live projection replaces it
only with --yes; otherwise the exit code is 1. An interrupted replay does not change the live projection.
Refuses: contradictory options.
"""

import re
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from keyledger.settings.start_environment import OF_THIS_PROCESS
from scripts.terminal.exits import CommandError, Exit
from scripts.terminal.interruption import interruptible
from scripts.terminal.output import JsonOption, Table, WideOption, print_json, print_table, say
from scripts.terminal.progress import ProgressDisplay

if TYPE_CHECKING:  # loaded only when the command runs
    from domain.operations.replay import ReplayResult, Swap
    from keyledger.encryption.secret_keeping import SecretKeys

_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,6})?([Zz]|[+-]\d\d:\d\d)")
_CLOCKS_DIFFER = timedelta(minutes=1)
_UNTIL_RULE = "--until must be a position of the log, or a time such as 2026-01-31T12:00:00Z"


def replay(
    *,
    projection: Annotated[str | None, typer.Option(help="Replay only this projection.", show_default=False)] = None,
    compare: Annotated[bool, typer.Option("--compare", help="Compare only; discard the copy.")] = False,
    until: Annotated[
        str | None,
        typer.Option(
            metavar="POSITION|TIME",
            help="Show the projection as of then, and how it differs from now.",
            show_default=False,
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Replace the live projection even if the copy differs.")] = False,
    as_json: JsonOption = False,
    wide: WideOption = False,
) -> None:
    """Replay projections from the log. Each copy is compared with the live projection and replaces it if equal."""
    if yes and (compare or until is not None):
        raise CommandError(
            Exit.USAGE, "--yes replaces the live projection, which --compare and --until never do; use one or the other"
        )
    end = _end(until) if until is not None else None
    results = _replayed(projection, _swap(compare=compare, yes=yes), end)
    if as_json:
        print_json({"replays": [asdict(result) for result in results]})
    else:
        _print(results, wide=wide)
    different = [result for result in results if result.difference_count and not result.swapped]
    if different and until is None:
        raise CommandError(Exit.ERROR_FOUND, *(_verdict(result, compare=compare) for result in different))


def _replayed(projection: str | None, swap: "Swap", end: int | datetime | None) -> "list[ReplayResult]":
    from domain.events.event import utc_now
    from keyledger.assembly.command_meta import command_meta
    from keyledger.assembly.configuration import code_keys_of
    from keyledger.assembly.open_ledger import Purpose, open_ledger
    from keyledger.assembly.people import people_of
    from keyledger.log.event_codes.attestation import has_codes, read_codes, unchecked_codes
    from keyledger.log.event_store import CredentialLog
    from keyledger.replay.recorded_replay import recorded_replay
    from keyledger.settings.settings import load_code_keys, load_database
    from projections.replay.replayable import PROJECTIONS, projection_named

    names = list(PROJECTIONS) if projection is None else [projection_named(projection).name]
    with (
        open_ledger(load_database(OF_THIS_PROCESS, Path(".env")), Purpose.READ) as ledger,
        interruptible("projections not yet replaced are unchanged"),
        ProgressDisplay() as display,
    ):
        pool = ledger.open_pool()
        people, keys = people_of(pool, _secret_keys()), load_code_keys(OF_THIS_PROCESS, Path(".env"))
        log = CredentialLog(pool, people.sealer, read_codes(pool, code_keys_of(*keys)))
        unchecked = unchecked_codes(pool, log.codes)
        if unchecked:
            say(f"{unchecked:,} events have a code under a key that is not configured, or none: not checked")
        recorder = log if log.codes.primary_id is not None or not has_codes(pool) else None
        if recorder is None and swap is not swap.NEVER:
            say("no key is configured that authenticates events, so this replay is not recorded in the log")
        return [
            recorded_replay(
                ledger.dsn,
                recorder,
                name,
                partial(display.update, f"replaying {name}"),
                swap=swap,
                until=end,
                meta=people.known(command_meta()),
                clock=utc_now,
            )
            for name in names
        ]


def _secret_keys() -> "SecretKeys":
    """Return the keys that the settings have; none where a service could not start with them."""
    from keyledger.assembly.configuration import secret_keys_of
    from keyledger.encryption.secret_keeping import SecretKeys
    from keyledger.settings.errors import SettingsError
    from keyledger.settings.settings import load

    try:
        return secret_keys_of(load(OF_THIS_PROCESS, Path(".env")))
    except SettingsError:
        return SecretKeys()


def _swap(*, compare: bool, yes: bool) -> "Swap":
    from domain.operations.replay import Swap

    if compare:
        return Swap.NEVER
    return Swap.ALWAYS if yes else Swap.IF_EQUAL


def _end(until: str) -> int | datetime:
    if until.isascii() and until.isdigit() and len(until) < 19:
        return int(until)
    if _TIME.fullmatch(until):
        try:
            end = datetime.fromisoformat(until.upper()).astimezone(UTC)
        except (ValueError, OverflowError):
            raise CommandError(Exit.USAGE, _UNTIL_RULE) from None
        if end > datetime.now(UTC) + _CLOCKS_DIFFER:
            raise CommandError(Exit.USAGE, "--until must not be in the future")
        return end
    raise CommandError(Exit.USAGE, _UNTIL_RULE)


def _verdict(result: "ReplayResult", *, compare: bool) -> str:
    differs = f"{result.projection} differs from the log in {result.difference_count:,} rows"
    return differs if compare else f"{differs} and was not changed; to replace it with the copy, pass --yes"


def _print(results: "list[ReplayResult]", *, wide: bool) -> None:
    rows = [
        (
            result.projection,
            str(result.position),
            f"{result.rows:,}",
            f"{result.difference_count:,}",
            "yes" if result.swapped else "no",
            f"{result.seconds:.1f} s",
        )
        for result in results
    ]
    print_table(Table(("projection", "up to", "rows", "differences", "swapped", "time"), rows), wide=wide)
    listed = [
        (result.projection, one.what, one.tenant_id or "-", one.provider or "-")
        for result in results
        for one in result.differences
    ]
    if listed:
        print_table(Table(("projection", "live row is", "tenant", "provider"), listed), wide=wide)
    for result in results:
        if result.difference_count > len(result.differences):
            say(f"{result.projection}: {result.difference_count:,} differences, of which the first are listed")
