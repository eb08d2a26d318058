"""`audit verify`: whether a bundle shows what it should, offline.

Promises: it needs the folder and the auditor's key alone: no service, no database, no other setting.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scripts.terminal.exits import CommandError, Exit
from scripts.terminal.output import JsonOption, print_json, print_line
from scripts.terminal.progress import ProgressDisplay

if TYPE_CHECKING:  # loaded only when the command runs
    from keyledger.evidence import Verdict

PublicKeyOption = Annotated[
    str, typer.Option("--public-key", metavar="VKEY", help="The log's verifier key.", show_default=False)
]


def verify(
    *,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The bundle.", show_default=False)],
    vkey: PublicKeyOption,
    since: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="An older checkpoint that you kept; the log must go on from it."),
    ] = None,
    witnesses: Annotated[
        list[str] | None,
        typer.Option("--witness", metavar="VKEY", help="A witness that must have cosigned.", show_default=False),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check a bundle, offline. Exit code 1 when it does not show what it should, with the first bad position."""
    from domain.proofs.errors import ProofError
    from keyledger.evidence import verify_bundle

    if not folder.is_dir():
        raise CommandError(Exit.USAGE, f"there is no folder {folder}")
    older = _text_file(since, "--since") if since is not None else None
    try:
        with ProgressDisplay() as display:
            verdict = verify_bundle(
                folder,
                vkey,
                since=older,
                witnesses=witnesses or (),
                progress=lambda done, total: display.update("checking records", done, total),
            )
    except ProofError as fault:
        raise CommandError(Exit.USAGE, f"--public-key or --witness: {fault}") from None
    if as_json:
        print_json(_as_json(verdict))
    else:
        print_line(verdict.report())
    if not verdict.holds:
        raise CommandError(Exit.FAULT_FOUND, "the evidence does not hold")


def _text_file(path: Path, option: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        raise CommandError(Exit.USAGE, f"{option}: {path} cannot be read as text") from None


def _as_json(verdict: "Verdict") -> dict[str, object]:
    fault = verdict.fault
    return {
        "holds": verdict.holds,
        "proven": list(verdict.proven),
        "notes": list(verdict.notes),
        "not_interpreted": dict(verdict.not_interpreted),
        "fault": None if fault is None else {"position": fault.position, "meaning": fault.meaning},
        "size": verdict.checkpoint.size if verdict.checkpoint else None,
        "tenant_id": verdict.tenant_id,
    }
