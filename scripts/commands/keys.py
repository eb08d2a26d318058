"""`keys list|add-next|rotate|verify|retire|adopt-next`: the encryption keys, on the database itself, with the settings
that `serve` has; `add-next` and `adopt-next` change those of this node.

Promises: a rotation that Ctrl-C or SIGTERM ends stops after its batch, and says how to go on; what could not be sealed
anew is named by tenant and provider, and the exit code says so; nothing is retired that is still needed.
Refuses: to rotate or retire without a confirmation. No key is ever asked for, taken as an argument, or printed.
"""

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from scripts.terminal.exits import CommandError, Exit
from scripts.terminal.output import JsonOption, Table, WideOption, print_json, print_table, say
from scripts.terminal.progress import ProgressDisplay

if TYPE_CHECKING:  # loaded only when a command runs
    import threading

    from domain.operations.rotation import KeyStatus, RotationState, Unopened
    from keyledger.assembly.key_operation import KeyOperation
    from keyledger.encryption.key_verification import Verification
    from keyledger.encryption.rotation import RotationPlan, RotationProgress

YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask.")]

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="The encryption keys and their rotation.",
)


@app.command("list")
def list_keys(as_json: JsonOption = False, wide: WideOption = False) -> None:
    """List every key with what still needs it, and whether it is safe to remove."""
    with _opened() as keys:
        found = keys.statuses.all()
    if as_json:
        print_json([_shown(one) for one in found])
    else:
        _print_keys(found, wide=wide)


@app.command("add-next")
def add_next(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Holds the new key.", show_default=False)],
) -> None:
    """Let this node know the key of the next rotation, in its .env. It seals once every running node knows it."""
    from keyledger.assembly.next_key import add_next as add

    key_id = add(os.environ, Path(".env"), file)
    say(f"{key_id} is the next key of this node; make the running service know it with: keyledger reload")


@app.command("adopt-next")
def adopt_next() -> None:
    """Put the next key in the place of ENCRYPTION_KEY in this node's .env, once all former keys are retired."""
    from domain.operations.rotation import KeyState
    from keyledger.assembly.next_key import adopt_next as adopt

    with _opened() as keys:
        retired = {one.key_id for one in keys.statuses.all() if one.state is KeyState.RETIRED}
    key_id = adopt(os.environ, Path(".env"), retired)
    say(f"{key_id} is the only key of this node; make the running service forget the others with: keyledger reload")


@app.command("rotate")
def rotate(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Seal every live credential under the primary key. Services go on meanwhile; after a stop, run it again."""
    with _opened() as keys:
        plan = keys.rotator.plan()
        if dry_run:
            _show_plan(plan, as_json=as_json)
            return
        # One that is refused is refused before anybody is asked.
        if plan.credentials and not plan.obstacles and not yes:
            _confirm(f"Seal {plan.credentials:,} credentials under {plan.key_id}?", "nothing was changed")
        if not plan.obstacles:
            keys.introduce_keys()
            keys.wait_until_sealing(say)
        progress, state = _rotate(keys)
    _report(progress, state, as_json=as_json)


@app.command("verify")
def verify(as_json: JsonOption = False) -> None:
    """Prove that the primary key alone is enough. Exits 1 with what does not hold."""
    with _opened() as keys, ProgressDisplay() as display:
        found = keys.verify(display.tell)
    if as_json:
        print_json(_verification(found))
    else:
        _print_verification(found)
    if not found.holds:
        raise CommandError(Exit.FAULT_FOUND, *found.reasons)
    say(f"the key {found.key_id} alone is enough")


@app.command("retire")
def retire(
    key_id: Annotated[str, typer.Argument(metavar="KEY_ID", help="As `keys list` shows it.", show_default=False)],
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Record that a key may be destroyed, once a verification holds and nothing needs the key."""
    with _opened() as keys:
        with ProgressDisplay() as display:
            plan = keys.retirer.plan(key_id, display.tell)
        say(
            f"secrets that become unreadable for ever with {plan.key_id}: {plan.unrecoverable:,}"
            " (replaced and deleted ones in history; no live credential, and the audit trail stays whole)"
        )
        if not yes:
            _confirm(f"Retire {plan.key_id}?", "nothing was retired")
        event = keys.retirer.carry_out(plan, keys.meta)
    say(
        "retired: on every node run keyledger keys adopt-next, or remove it from ENCRYPTION_KEY_PREVIOUS, then"
        " keyledger reload; then destroy it"
    )
    if as_json:
        print_json({"key_id": event.key_id, "retired_at": _time(event.timestamp), "unrecoverable": event.unrecoverable})


@contextmanager
def _opened() -> "Iterator[KeyOperation]":
    from keyledger.assembly.key_operation import key_operation
    from keyledger.serving.http_server import orderly_end

    with orderly_end(), key_operation(os.environ, Path(".env")) as keys:
        yield keys


def _rotate(keys: "KeyOperation") -> "tuple[RotationProgress, RotationState]":
    begun = keys.rotator.begin(keys.meta)
    keys.records.open(begun)
    run = keys.recorded_run()
    with _ends_after_its_batch(run.stop), ProgressDisplay() as display:
        return run.run(
            begun,
            keys.meta,
            lambda told: display.tell(f"rotating to {told.key_id}", told.counts.done, told.total, told.counts.failed),
        )


@contextmanager
def _ends_after_its_batch(stop: "threading.Event") -> Iterator[None]:
    """Let Ctrl-C and SIGTERM set `stop`. A second one does what it always does."""
    before = {which: signal.getsignal(which) for which in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for which, handler in before.items():
            signal.signal(which, handler)

    def end(_signal: int, _frame: FrameType | None) -> None:
        stop.set()
        restore()

    for which in before:
        signal.signal(which, end)
    try:
        yield
    finally:
        restore()


def _show_plan(plan: "RotationPlan", *, as_json: bool) -> None:
    if as_json:
        print_json(
            {"key_id": plan.key_id, "credentials": plan.credentials, "obstacles": list(plan.obstacles), "dry_run": True}
        )
    else:
        print_table(Table(("to key", "credentials to seal anew"), [(plan.key_id, f"{plan.credentials:,}")]))
    if plan.obstacles:
        raise CommandError(Exit.REFUSED, *(f"the rotation would be refused: {obstacle}" for obstacle in plan.obstacles))


def _report(progress: "RotationProgress", state: "RotationState", *, as_json: bool) -> None:
    from domain.operations.rotation import RotationState

    counts = progress.counts
    numbers = {"reencrypted": counts.reencrypted, "skipped": counts.skipped, "failed": counts.failed}
    if as_json:
        told = {"rotation_id": progress.rotation_id, "key_id": progress.key_id, "state": state.value}
        print_json(told | {"total": progress.total} | numbers | {"unopened": _unopened(progress.unopened)})
    else:
        row = (progress.key_id, state.value, *(f"{number:,}" for number in numbers.values()))
        print_table(Table(("to key", "result", *numbers), [row]))
        _print_unopened(progress.unopened)
    if state is not RotationState.COMPLETED:
        raise CommandError(Exit.FAULT_FOUND, f"{state.value} before the end; to go on: keyledger keys rotate")
    if counts.failed:
        raise CommandError(
            Exit.FAULT_FOUND,
            f"credentials that cannot be opened and were left as they are: {counts.failed:,}; configure the key they"
            " need, or set or delete them, then rotate again",
        )
    say(f"every live credential is sealed under {progress.key_id}; prove it with: keyledger keys verify")


def _print_keys(found: "Sequence[KeyStatus]", *, wide: bool) -> None:
    columns = ("key", "state", "introduced", "live", "superseded", "safe to remove", "why")
    rows = [
        (
            one.key_id,
            one.state.value,
            _time(one.introduced_at) or "",
            f"{one.live:,}",
            f"{one.superseded:,}",
            "yes" if one.safe_to_remove else "no",
            one.reason,
        )
        for one in found
    ]
    print_table(Table(columns, rows, less=("why", "introduced")), wide=wide)


def _shown(status: "KeyStatus") -> dict[str, object]:
    return {
        "key_id": status.key_id,
        "state": status.state.value,
        "introduced_at": _time(status.introduced_at),
        "retired_at": _time(status.retired_at),
        "live": status.live,
        "superseded": status.superseded,
        "safe_to_remove": status.safe_to_remove,
        "reason": status.reason,
    }


def _print_verification(found: "Verification") -> None:
    rows = [
        ("live credentials", f"{found.live:,}"),
        ("sealed under other keys", f"{found.on_other_keys:,}"),
        (f"not opened with {found.key_id} alone", f"{found.unopened_count:,}"),
        *((f"rows of {view.projection} that differ from replay", f"{view.difference_count:,}") for view in found.views),
    ]
    print_table(Table(("what", "found"), rows))
    _print_unopened(found.unopened)
    differences = [
        (view.projection, str(one.tenant_id or ""), str(one.provider or ""), one.what)
        for view in found.views
        for one in view.differences
    ]
    if differences:
        print_table(Table(("view", "tenant", "provider", "row is"), differences))


def _verification(found: "Verification") -> dict[str, object]:
    return {
        "holds": found.holds,
        "key_id": found.key_id,
        "live": found.live,
        "on_other_keys": found.on_other_keys,
        "unopened_count": found.unopened_count,
        "unopened": _unopened(found.unopened),
        "views": [
            {
                "projection": view.projection,
                "rows": view.rows,
                "difference_count": view.difference_count,
                "differences": [
                    {"what": one.what, "tenant_id": one.tenant_id, "provider": one.provider} for one in view.differences
                ],
            }
            for view in found.views
        ],
        "reasons": list(found.reasons),
    }


def _print_unopened(unopened: "Sequence[Unopened]") -> None:
    if unopened:
        rows = [(one.tenant_id, one.provider, one.reason) for one in unopened]
        print_table(Table(("tenant", "provider", "why it does not open"), rows))


def _unopened(unopened: "Sequence[Unopened]") -> list[dict[str, str]]:
    return [{"tenant_id": one.tenant_id, "provider": one.provider, "reason": one.reason} for one in unopened]


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _confirm(question: str, otherwise: str) -> None:
    if not sys.stdin.isatty():
        raise CommandError(Exit.USAGE, "there is no terminal to confirm on; give --yes")
    if not typer.confirm(question, err=True):
        raise CommandError(Exit.REFUSED, f"not confirmed; {otherwise}")
