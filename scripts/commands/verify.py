"""`verify`: verifies that the log, tree, projections and last checkpoint of a database are consistent.

Promises: read-only, except that the audit trail and the tree are first caught up with the log; the first error is named
with its position, and the exit code is then 1.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from keyledger.settings.start_environment import OF_THIS_PROCESS
from scripts.terminal.exits import CommandError, Exit
from scripts.terminal.output import JsonOption, Table, WideOption, print_json, print_table, say
from scripts.terminal.progress import ProgressDisplay

if TYPE_CHECKING:  # loaded only when the command runs
    from domain.credentials.secret import Sealer
    from domain.events.event_code import CodeKey
    from keyledger.assembly.open_ledger import Ledger
    from keyledger.store_verification import Inconsistency, StoreVerdict


def verify(
    without_keys: Annotated[
        bool, typer.Option("--without-keys", help="Verify neither bindings nor codes; no key is read.")
    ] = False,
    as_json: JsonOption = False,
    wide: WideOption = False,
) -> None:
    """Verify the whole ledger.

    Compares log, codes, tree, audit trail, current credentials, bindings, last checkpoint and anchors with each other,
    on the database, and the database with what this program ships. Names each event that is earlier than the one before
    it. Exits with 1 and the position of the first error.
    """
    from keyledger.store_verification import catch_up, verify_store

    with _opened(without_keys=without_keys) as (ledger, sealer, keys), ProgressDisplay() as display:
        catch_up(ledger.open_pool())
        verdict = verify_store(ledger.dsn, sealer, ledger.data_dir, display.update, keys, ledger.anchor_dir)
    if as_json:
        print_json(_as_json(verdict))
    else:
        print_table(Table(("part", "count", "result"), _rows(verdict)), wide=wide)
    for step in verdict.listed_steps[1:]:
        say(str(step))
    if verdict.error is not None:
        said = () if verdict.error.part == "store" else (_said(verdict.error),)
        raise CommandError(Exit.ERROR_FOUND, *said, *verdict.unfit)
    if verdict.codes_unchecked:
        say(f"{verdict.codes_unchecked:,} events have a code under a key that is not configured, or none: not checked")
    if verdict.unopenable:
        say(
            f"{verdict.unopenable} live credentials are sealed under keys that are not configured; their bindings were"
            " not verified"
        )


@contextmanager
def _opened(*, without_keys: bool) -> "Iterator[tuple[Ledger, Sealer | None, Sequence[CodeKey]]]":
    from keyledger.assembly.configuration import code_keys_of, keyring_of
    from keyledger.assembly.open_ledger import Purpose, open_ledger
    from keyledger.settings.settings import load, load_code_keys, load_database

    if without_keys:
        with open_ledger(load_database(OF_THIS_PROCESS, Path(".env")), Purpose.VERIFY_WITHOUT_KEYS) as ledger:
            yield ledger, None, ()
        return
    settings = load(OF_THIS_PROCESS, Path(".env"))
    with open_ledger(settings.database, Purpose.VERIFY) as ledger:
        yield ledger, keyring_of(settings), code_keys_of(*load_code_keys(OF_THIS_PROCESS, Path(".env")))


def _rows(verdict: "StoreVerdict") -> list[tuple[str, str, str]]:
    failed = verdict.error.part if verdict.error else None
    checkpoint = "none" if verdict.checkpoint_size is None else f"{verdict.checkpoint_size:,}"
    parts = (
        ("log", "events", f"{verdict.events:,}"),
        ("codes", "codes of events", f"{verdict.events - verdict.codes_unchecked:,} of {verdict.events:,}"),
        ("tree", "hashes", f"{verdict.events - verdict.behind.get('transparency_log', 0):,}"),
        ("trail", "audit entries", f"{verdict.events - verdict.behind.get('audit_trail', 0):,}"),
        ("people", "keys of personal members", ""),
        ("checkpoint", "events under the last checkpoint", checkpoint),
        ("anchor", "places outside the database", f"{verdict.anchors}"),
        ("current", "streams", f"{verdict.streams:,}"),
        ("bindings", "live credentials", f"{verdict.credentials - verdict.unopenable:,} of {verdict.credentials:,}"),
        ("store", "tables, functions, triggers", f"{verdict.attested:,}"),
        ("times", "steps back in time", f"{verdict.steps_back:,}"),
    )
    names = [part for part, _, _ in parts]
    order = names.index(failed) if failed else len(names)
    state = {part: "verified" if nth < order else "FAULT" if nth == order else "-" for nth, part in enumerate(names)}
    in_one_pass = {"log", "codes", "tree", "trail", "people", "checkpoint", "anchor"}
    if failed in in_one_pass:
        state = {part: "FAULT" if part == failed else "-" for part in names}
    if verdict.unfit:
        state["store"] = "FAULT" if failed == "store" else "not as shipped"
    return [(what, number, state[part]) for part, what, number in parts]


def _said(error: "Inconsistency") -> str:
    where = [f"position {error.position}"] if error.position is not None else []
    where += [f"tenant {error.tenant_id}", f"provider {error.provider}"] if error.tenant_id else []
    return f"{', '.join(where) or error.part}: {error.meaning}"


def _as_json(verdict: "StoreVerdict") -> dict[str, object]:
    error = verdict.error
    return {
        "holds": verdict.holds,
        "events": verdict.events,
        "streams": verdict.streams,
        "credentials": verdict.credentials,
        "codes_not_checked": verdict.codes_unchecked,
        "bindings_not_checked": verdict.unopenable,
        "checkpoint_size": verdict.checkpoint_size,
        "steps_back": verdict.steps_back,
        "times_back": [
            {"position": step.position, "seconds": step.by.total_seconds()} for step in verdict.listed_steps
        ],
        "fault": None
        if error is None
        else {
            "part": error.part,
            "position": error.position,
            "tenant_id": error.tenant_id,
            "provider": error.provider,
            "meaning": error.meaning,
        },
    }
