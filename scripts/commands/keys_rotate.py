"""`keys rotate`: re-encrypts every live credential with the primary key.

Promises: on Ctrl-C or SIGTERM a rotation stops after its current batch and prints how to continue; credentials that
could not be re-encrypted are named by tenant and provider, and the exit code is then 1. Calls of services are not
slowed down, unless `--fast` asks for full speed.
Refuses: to rotate without confirmation.
"""

from typing import TYPE_CHECKING, Annotated

import typer

from scripts.commands.keys import opened_keys, print_unopened, unopened_json
from scripts.terminal.confirmation import YesOption, confirm
from scripts.terminal.exits import CommandError, Exit
from scripts.terminal.interruption import stopped_by_signals
from scripts.terminal.output import JsonOption, Table, WideOption, print_json, print_table, say
from scripts.terminal.progress import ProgressDisplay

if TYPE_CHECKING:  # loaded only when the command runs
    from domain.operations.rotation import RotationState
    from keyledger.assembly.for_commands.key_operation import KeyOperation
    from keyledger.encryption.rotation import RotationPlan, RotationProgress


def rotate(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be done, without doing it.")] = False,
    fast: Annotated[
        bool, typer.Option("--fast", help="Do not rest between batches; the slowest calls then take longer.")
    ] = False,
    yes: YesOption = False,
    as_json: JsonOption = False,
    wide: WideOption = False,
) -> None:
    """Re-encrypt live credentials with the primary key. Services can keep running; run it again if interrupted."""
    with opened_keys(fast=fast) as keys:
        plan = keys.rotator.plan()
        if dry_run:
            _show_plan(plan, as_json=as_json, wide=wide)
            return
        # A rotation that will be refused is refused before the question.
        if plan.credentials and not plan.obstacles and not yes:
            confirm(f"Re-encrypt {plan.credentials:,} credentials with {plan.key_id}?", "nothing was changed")
        if not plan.obstacles:
            keys.introduce_keys()
            keys.wait_until_sealing(say)
        progress, state = _rotate(keys)
    _report(progress, state, as_json=as_json, wide=wide)


def _rotate(keys: "KeyOperation") -> "tuple[RotationProgress, RotationState]":
    begun = keys.rotator.begin(keys.meta)
    keys.records.open(begun)
    run = keys.recorded_run()
    with stopped_by_signals(run.stop), ProgressDisplay() as display:
        return run.run(
            begun,
            keys.meta,
            lambda told: display.update(f"rotating to {told.key_id}", told.counts.done, told.total, told.counts.failed),
        )


def _show_plan(plan: "RotationPlan", *, as_json: bool, wide: bool) -> None:
    if as_json:
        print_json(
            {"key_id": plan.key_id, "credentials": plan.credentials, "obstacles": list(plan.obstacles), "dry_run": True}
        )
    else:
        print_table(Table(("to key", "credentials to re-encrypt"), [(plan.key_id, f"{plan.credentials:,}")]), wide=wide)
    if plan.obstacles:
        raise CommandError(Exit.REFUSED, *(f"the rotation would be refused: {obstacle}" for obstacle in plan.obstacles))


def _report(progress: "RotationProgress", state: "RotationState", *, as_json: bool, wide: bool) -> None:
    from domain.operations.rotation import RotationState

    counts = progress.counts
    numbers = {"reencrypted": counts.reencrypted, "skipped": counts.skipped, "failed": counts.failed}
    if as_json:
        told = {"rotation_id": progress.rotation_id, "key_id": progress.key_id, "state": state.value}
        print_json(told | {"total": progress.total} | numbers | {"unopened": unopened_json(progress.unopened)})
    else:
        row = (progress.key_id, state.value, *(f"{number:,}" for number in numbers.values()))
        print_table(Table(("to key", "result", *numbers), [row]), wide=wide)
        print_unopened(progress.unopened, wide=wide)
    if state is not RotationState.COMPLETED:
        raise CommandError(Exit.ERROR_FOUND, f"{state.value}; to continue: keyledger keys rotate")
    if counts.failed:
        raise CommandError(
            Exit.ERROR_FOUND,
            f"{counts.failed:,} credentials could not be opened and were not changed; configure the key they need, or"
            " set or delete them, then rotate again",
        )
    say(f"every live credential is sealed under {progress.key_id}; verify it with: keyledger keys verify")
