"""`keys verify`: verifies that the primary key alone opens every live credential.

Promises: every live credential is opened with that key only, and the projections are compared with a replay; failures
are printed, and the exit code is then 1.
"""

from typing import TYPE_CHECKING

from scripts.commands.keys import opened_keys, print_unopened, unopened_json
from scripts.terminal.exits import CommandError, Exit
from scripts.terminal.output import JsonOption, Table, WideOption, print_json, print_table, say
from scripts.terminal.progress import ProgressDisplay

if TYPE_CHECKING:  # loaded only when the command runs
    from keyledger.encryption.key_verification import Verification


def verify(as_json: JsonOption = False, wide: WideOption = False) -> None:
    """Verify that the primary key alone suffices.

    Opens every live credential with that key only, and compares the projections with a replay. Exits with 1 and the
    reasons if either fails.
    """
    with opened_keys() as keys, ProgressDisplay() as display:
        found = keys.verify(display.update)
    if as_json:
        print_json(_verification(found))
    else:
        _print_verification(found, wide=wide)
    if not found.holds:
        raise CommandError(Exit.ERROR_FOUND, *found.reasons)
    say(f"{found.key_id} alone opens every live credential")


def _print_verification(found: "Verification", *, wide: bool) -> None:
    rows = [
        ("live credentials", f"{found.live:,}"),
        ("sealed under other keys", f"{found.on_other_keys:,}"),
        (f"not opened with {found.key_id} alone", f"{found.unopened_count:,}"),
        *(
            (f"rows of {projection.projection} that differ from replay", f"{projection.difference_count:,}")
            for projection in found.projections
        ),
    ]
    print_table(Table(("check", "count"), rows), wide=wide)
    print_unopened(found.unopened, wide=wide)
    differences = [
        (projection.projection, str(one.tenant_id or ""), str(one.provider or ""), one.what)
        for projection in found.projections
        for one in projection.differences
    ]
    if differences:
        print_table(Table(("projection", "tenant", "provider", "row is"), differences), wide=wide)


def _verification(found: "Verification") -> dict[str, object]:
    return {
        "holds": found.holds,
        "key_id": found.key_id,
        "live": found.live,
        "on_other_keys": found.on_other_keys,
        "unopened_count": found.unopened_count,
        "unopened": unopened_json(found.unopened),
        "views": [
            {
                "projection": projection.projection,
                "rows": projection.rows,
                "difference_count": projection.difference_count,
                "differences": [
                    {"what": one.what, "tenant_id": one.tenant_id, "provider": one.provider}
                    for one in projection.differences
                ],
            }
            for projection in found.projections
        ],
        "reasons": list(found.reasons),
    }
