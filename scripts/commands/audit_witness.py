"""`audit witness`: cosigns the log's checkpoint, provided that it extends the last one this witness saw.

Promises: the state file is replaced only by a checkpoint that extends it; a log that contradicts it is reported.
"""

import base64
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast
from urllib.parse import urlencode

import typer

from domain.credentials.secret import Secret
from scripts.commands.audit_verify import PublicKeyOption
from scripts.terminal.atomic_file import atomic_file
from scripts.terminal.exits import CommandError, Exit
from scripts.terminal.output import DataOutput
from scripts.terminal.service_client import (
    DEFAULT_URL,
    KeyFileOption,
    ServiceClient,
    UrlOption,
    admin_key,
    read_secret_file,
)

if TYPE_CHECKING:  # loaded only when the command runs
    from keyledger.evidence import Witness

_CHECKPOINT = "/api/v1/audit/checkpoint"
_CONSISTENCY = "/api/v1/audit/proof/consistency"


def witness(
    *,
    vkey: PublicKeyOption,
    key_file: Annotated[Path, typer.Option("--key-file", help="File with the witness's signing key.")],
    state: Annotated[Path, typer.Option("--state", metavar="FILE", help="File that keeps the last checkpoint.")],
    folder: Annotated[
        Path | None,
        typer.Option(
            "--bundle", metavar="DIR", help="Read the checkpoint from a bundle, not from a service.", show_default=False
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="File for the cosigned checkpoint.  [default: stdout]", show_default=False),
    ] = None,
    url: UrlOption = DEFAULT_URL,
    api_key_file: KeyFileOption = None,
) -> None:
    """Cosign the log's checkpoint. It is first checked to extend the last one that was kept in --state."""
    from domain.proofs.errors import ProofError
    from keyledger.evidence import EvidenceError, Witness
    from keyledger.proofs.signing_keys import WitnessSigner

    try:
        observer = Witness(state, vkey, WitnessSigner(Secret(read_secret_file(key_file))))
        cosigned = (
            observer.observe_bundle(folder)
            if folder is not None
            else _observe_service(observer, ServiceClient(url, admin_key(api_key_file)))
        )
    except ProofError as error:
        raise CommandError(Exit.USAGE, f"--public-key or --key-file: {error}") from None
    except EvidenceError as error:
        raise CommandError(Exit.ERROR_FOUND, str(error)) from None
    except OSError as problem:
        raise CommandError(Exit.REFUSED, f"--state: cannot keep a checkpoint in {state}: {problem.strerror}") from None
    if output is None:
        written = DataOutput()
        written.write(cosigned)
        written.flush()
        return
    with atomic_file(output) as file:
        file.write(cosigned)


def _observe_service(observer: "Witness", client: ServiceClient) -> bytes:
    from domain.proofs.checkpoint import parse_checkpoint
    from domain.proofs.signed_note import parse_note

    last = observer.last()
    with client as service:
        checkpoint = service.text(_CHECKPOINT).encode()
        if last is None:
            return observer.observe(checkpoint)
        size = parse_checkpoint(parse_note(checkpoint).text).size
        if size <= last.size:
            return observer.observe(checkpoint)
        answer = service.call("GET", f"{_CONSISTENCY}?{urlencode({'from': last.size, 'to': size})}")
    return observer.observe(checkpoint, [base64.b64decode(one) for one in cast("list[str]", answer["proof"])])
