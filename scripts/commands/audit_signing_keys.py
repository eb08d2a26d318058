"""`audit generate-signing-key` and `audit public-key`: the keys that sign checkpoints and their public halves.

Promises: a signing key is printed once and stored nowhere.
"""

from contextlib import suppress
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from domain.credentials.secret import Secret
from keyledger.settings.start_environment import OF_THIS_PROCESS
from scripts.terminal.exits import CommandError, Exit
from scripts.terminal.service_client import read_secret_file


def generate_signing_key(
    name: Annotated[
        str | None, typer.Option(help="Name of the log or witness.  [default: a random name]", show_default=False)
    ] = None,
) -> None:
    """Print a new AUDIT_SIGNING_KEY. Keep it separate from ENCRYPTION_KEY and the database; witnesses need one too."""
    from domain.proofs.errors import ProofError
    from keyledger.proofs.signing_keys import generate_signing_key as generate

    try:
        typer.echo(generate(name).reveal())
    except ProofError as error:  # our own text
        raise CommandError(Exit.USAGE, f"--name: {error}") from None


def public_key(
    key_file: Annotated[
        Path | None,
        typer.Option("--key-file", help="File with the signing key.  [default: AUDIT_SIGNING_KEY]", show_default=False),
    ] = None,
    of_witness: Annotated[bool, typer.Option("--witness", help="The key belongs to a witness.")] = False,
    ledger: Annotated[
        UUID | None,
        typer.Option("--ledger", help="Id of the ledger.  [default: that in DATA_DIR]", show_default=False),
    ] = None,
) -> None:
    """Print the public key of the ledger for auditors. Do not send it to them together with a bundle."""
    from domain.proofs.errors import ProofError
    from keyledger.proofs.signing_keys import LogSigner, WitnessSigner

    try:
        key = _signing_key(key_file)
        typer.echo(WitnessSigner(key).vkey if of_witness else LogSigner(key).of_ledger(_ledger_id(ledger)).vkey)
    except ProofError as error:
        raise CommandError(Exit.USAGE, f"the signing key: {error}") from None


def _ledger_id(named: UUID | None) -> str:
    """Return the id of the ledger whose checkpoints are verified: the key that auditors get is for it alone."""
    if named is not None:
        return str(named)
    from keyledger.log.anchors.places import anchor_places
    from keyledger.log.durable_file import UnreadableFileError
    from keyledger.settings.settings import load_database

    database = load_database(OF_THIS_PROCESS, Path(".env"))
    for place in anchor_places(database.data_dir, database.anchor_dir):
        with suppress(UnreadableFileError):
            if (known := place.known()) is not None:
                return known.anchor.ledger_id
    raise CommandError(
        Exit.USAGE,
        f"{database.data_dir} knows no ledger yet, and the public key is for one ledger: start the service once with"
        " this DATA_DIR, or name the ledger with --ledger",
    )


def _signing_key(key_file: Path | None) -> Secret:
    if key_file is not None:
        return Secret(read_secret_file(key_file))
    from keyledger.settings.sources import Sources

    sources = Sources(OF_THIS_PROCESS, Path(".env"))
    key = sources.secret("AUDIT_SIGNING_KEY", shown=lambda _: "***")
    if sources.errors:
        raise CommandError(Exit.USAGE, *sources.errors)
    if key is None:
        raise CommandError(
            Exit.USAGE, "AUDIT_SIGNING_KEY is not set; create one with: keyledger audit generate-signing-key"
        )
    return key
