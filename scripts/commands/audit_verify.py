"""`audit verify`: verifies a bundle offline.

Promises: it needs the folder and the auditor's public key only: no service, no database, no settings. With `--plain` it
loads nothing but the standard library and `cryptography`, besides what reads the command line; the verdict is the same.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scripts.terminal.exits import CommandError, Exit
from scripts.terminal.output import JsonOption, print_json, print_line
from scripts.terminal.progress import ProgressDisplay

if TYPE_CHECKING:  # loaded only when the command runs
    from keyledger.evidence import Decode, Verdict

PublicKeyOption = Annotated[
    str, typer.Option("--public-key", metavar="VKEY", help="The log's public key (vkey).", show_default=False)
]


def verify(
    *,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder with the bundle.", show_default=False)],
    vkey: PublicKeyOption,
    since: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="An earlier checkpoint that you kept; the log must extend it."),
    ] = None,
    witnesses: Annotated[
        list[str] | None,
        typer.Option(
            "--witness",
            metavar="VKEY",
            help="Public key of a witness that must have cosigned; may be repeated.",
            show_default=False,
        ),
    ] = None,
    plain: Annotated[
        bool, typer.Option("--plain", help="Use Python's standard library and cryptography only; takes longer.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Verify a bundle offline.

    Covers the signatures of the log and of witnesses, the hashes or proofs of all records, an earlier checkpoint, and
    whether the records are a possible history. Exits with 1 and the first bad position when verification fails.
    """
    from domain.proofs.errors import ProofError
    from keyledger.evidence import verify_bundle

    _require_folder(folder)
    older = _text_file(since, "--since") if since is not None else None
    try:
        with ProgressDisplay() as display:
            verdict = verify_bundle(
                folder,
                vkey,
                since=older,
                witnesses=witnesses or (),
                progress=lambda done, total: display.update("verifying records", done, total),
                decode=_decoder(plain=plain),
            )
    except ProofError as error:
        raise CommandError(Exit.USAGE, f"--public-key or --witness: {error}") from None
    _report(verdict, as_json=as_json)


def _require_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise CommandError(Exit.USAGE, f"{folder} is not a folder")


def _decoder(*, plain: bool) -> "Decode":
    if plain:
        from domain.audit.record import decode_record
    else:
        from keyledger.quick_records import decode_record
    return decode_record


def _report(verdict: "Verdict", *, as_json: bool) -> None:
    if as_json:
        print_json(_as_json(verdict))
    else:
        for line in verdict.report().splitlines():
            print_line(line)
    if not verdict.holds:
        raise CommandError(Exit.ERROR_FOUND, "the evidence is not valid")


def _text_file(path: Path, option: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        raise CommandError(Exit.USAGE, f"{option}: {path} cannot be read as text") from None


def _as_json(verdict: "Verdict") -> dict[str, object]:
    error = verdict.error
    return {
        "holds": verdict.holds,
        "proven": list(verdict.proven),
        "notes": list(verdict.notes),
        "not_interpreted": dict(verdict.not_interpreted),
        "fault": None if error is None else {"position": error.position, "meaning": error.meaning},
        "size": verdict.checkpoint.size if verdict.checkpoint else None,
        "tenant_id": verdict.tenant_id,
    }
