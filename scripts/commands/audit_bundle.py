"""`audit bundle|verify|witness|public-key|generate-signing-key`: evidence, and what checks it without the service.

Promises: `verify` needs the folder and the auditor's key alone: no service, no database, no other setting. A bundle is
whole or not there; while it is taken, every record is compared with the hash that the log's tree has for it, and the
first that differs is named. A signing key is printed once and stored nowhere.
"""

import base64
import errno
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast
from urllib.parse import urlencode

import typer

from domain.credentials.secret import Secret
from scripts.terminal.exits import CommandError, Exit
from scripts.terminal.output import JsonOption, print_json, print_line, say
from scripts.terminal.partial_file import whole_file
from scripts.terminal.progress import ProgressDisplay
from scripts.terminal.service_client import (
    DEFAULT_URL,
    KeyFileOption,
    ServiceClient,
    UrlOption,
    admin_key,
    read_secret_file,
)

if TYPE_CHECKING:  # loaded only when the command runs
    from keyledger.evidence import Verdict, Witness

_CHECKPOINT = "/api/v1/audit/checkpoint"
_CONSISTENCY = "/api/v1/audit/proof/consistency"
_EVIDENCE = "/api/v1/audit/evidence"
Tell = Callable[[int, int], None]

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The bundle.", show_default=False)]
PublicKey = Annotated[
    str, typer.Option("--public-key", metavar="VKEY", help="The log's verifier key.", show_default=False)
]


def generate_signing_key(
    name: Annotated[
        str | None, typer.Option(help="Name of the log, or of the witness; made up without it.", show_default=False)
    ] = None,
) -> None:
    """Print a new AUDIT_SIGNING_KEY, also for a witness. Keep it apart from ENCRYPTION_KEY and the database."""
    from domain.proofs.errors import ProofError
    from keyledger.proofs.signing_keys import generate_signing_key as generate

    try:
        typer.echo(generate(name).reveal())
    except ProofError as fault:  # its text is ours
        raise CommandError(Exit.USAGE, f"--name: {fault}") from None


def public_key(
    key_file: Annotated[
        Path | None,
        typer.Option("--key-file", help="File with the signing key; AUDIT_SIGNING_KEY without it.", show_default=False),
    ] = None,
    of_witness: Annotated[bool, typer.Option("--witness", help="The key signs as a witness.")] = False,
) -> None:
    """Print the verifier key that auditors check with. Give it to them by another way than the bundle."""
    from domain.proofs.errors import ProofError
    from keyledger.proofs.signing_keys import LogSigner, WitnessSigner

    try:
        key = _signing_key(key_file)
        typer.echo(WitnessSigner(key).vkey if of_witness else LogSigner(key).vkey)
    except ProofError as fault:
        raise CommandError(Exit.USAGE, f"the signing key: {fault}") from None


def bundle(
    *,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="New folder to write.", show_default=False)
    ],
    tenant_id: Annotated[
        str | None, typer.Option("--tenant", help="Only the records of this tenant, with proofs.", show_default=False)
    ] = None,
    url: UrlOption = DEFAULT_URL,
    api_key_file: KeyFileOption = None,
) -> None:
    """Take the evidence of the whole log, or of one tenant, into a folder that can be checked anywhere."""
    from keyledger.evidence import EvidenceError

    query = f"?{urlencode({'tenant_id': tenant_id})}" if tenant_id else ""
    try:
        with (
            ServiceClient(url, admin_key(api_key_file)) as service,
            service.stream(f"{_EVIDENCE}{query}") as pieces,
            ProgressDisplay() as display,
        ):
            count = _write(output, tenant_id, _lines(pieces), lambda done, of: display.tell("taking records", done, of))
    except OSError as problem:
        if problem.errno == errno.ENOTEMPTY:
            raise CommandError(Exit.USAGE, f"--output: {problem.strerror}") from None
        raise CommandError(Exit.REFUSED, f"--output: cannot write {output}: {problem.strerror}") from None
    except EvidenceError as fault:
        raise CommandError(
            Exit.FAULT_FOUND, str(fault), "No bundle was written: the log is not what was signed."
        ) from None
    say(f"{count:,} records in {output}; check them with: keyledger audit verify {output} --public-key VKEY")


def verify(
    *,
    folder: Folder,
    vkey: PublicKey,
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
                progress=lambda done, total: display.tell("checking records", done, total),
            )
    except ProofError as fault:
        raise CommandError(Exit.USAGE, f"--public-key or --witness: {fault}") from None
    if as_json:
        print_json(_as_json(verdict))
    else:
        print_line(verdict.report())
    if not verdict.holds:
        raise CommandError(Exit.FAULT_FOUND, "the evidence does not hold")


def witness(
    *,
    vkey: PublicKey,
    key_file: Annotated[Path, typer.Option("--key-file", help="File with the witness's own signing key.")],
    state: Annotated[Path, typer.Option("--state", metavar="FILE", help="Where the last checkpoint is kept.")],
    folder: Annotated[
        Path | None,
        typer.Option("--bundle", metavar="DIR", help="Look at a bundle, not at a service.", show_default=False),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File for the cosigned checkpoint.", show_default=False)
    ] = None,
    url: UrlOption = DEFAULT_URL,
    api_key_file: KeyFileOption = None,
) -> None:
    """Look at the log's checkpoint, keep it if it goes on from the last one kept, and cosign it."""
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
    except ProofError as fault:
        raise CommandError(Exit.USAGE, f"--public-key or --key-file: {fault}") from None
    except EvidenceError as fault:
        raise CommandError(Exit.FAULT_FOUND, str(fault)) from None
    except OSError as problem:
        raise CommandError(Exit.REFUSED, f"--state: cannot keep a checkpoint in {state}: {problem.strerror}") from None
    if output is None:
        typer.echo(cosigned.decode(), nl=False)
        return
    with whole_file(output) as file:
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


def _signing_key(key_file: Path | None) -> Secret:
    if key_file is not None:
        return Secret(read_secret_file(key_file))
    from keyledger.settings.sources import Sources

    sources = Sources(os.environ, Path(".env"))
    key = sources.secret("AUDIT_SIGNING_KEY", shown=lambda _: "***")
    if sources.faults:
        raise CommandError(Exit.USAGE, *sources.faults)
    if key is None:
        raise CommandError(
            Exit.USAGE, "AUDIT_SIGNING_KEY is not set; make one with: keyledger audit generate-signing-key"
        )
    return key


def _lines(pieces: Iterator[bytes]) -> Iterator[Mapping[str, object]]:
    """Yield the objects of a stream of JSON lines. Raises CommandError for one that is none."""
    rest = b""
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            yield _parsed(line)
    if rest:
        raise CommandError(Exit.UNREACHABLE, "the evidence breaks off in the middle of a record")


def _parsed(line: bytes) -> Mapping[str, object]:
    try:
        members = json.loads(line)
    except ValueError:
        members = None
    if not isinstance(members, dict):
        raise CommandError(Exit.UNREACHABLE, "the answer is not evidence of a KeyLedger service")
    return members


def _write(output: Path, tenant_id: str | None, lines: Iterator[Mapping[str, object]], tell: Tell) -> int:
    """Write the bundle and return how many records it has. Raises EvidenceError, OSError."""
    from keyledger.evidence import FullBundleWriter, ProvenLeaf, TenantBundleWriter

    head = next(lines, {})
    if not isinstance(head.get("checkpoint"), str):
        raise CommandError(Exit.UNREACHABLE, "the answer is not evidence of a KeyLedger service")
    checkpoint, size = str(head["checkpoint"]).encode(), cast("int", head["size"])
    records = _Records(lines)
    if tenant_id is None:
        FullBundleWriter(output).write((leaf for leaf, _ in records), checkpoint, tell)
    else:
        TenantBundleWriter(output).write(tenant_id, (ProvenLeaf(leaf, proof) for leaf, proof in records), checkpoint)
        tell(records.count, size if records.count == size else records.count)
    return records.count


class _Records:
    """The records of the stream, each compared with its hash in the log's tree; the end of them must be told."""

    def __init__(self, lines: Iterator[Mapping[str, object]]) -> None:
        self._lines = lines
        self.count = 0

    def __iter__(self) -> Iterator[tuple[bytes, list[bytes]]]:
        from domain.proofs.merkle_tree import leaf_hash
        from keyledger.evidence import EvidenceError

        for line in self._lines:
            if "end" in line:
                return
            if "fault" in line:
                fault = cast("Mapping[str, str]", line["fault"])
                raise EvidenceError(f"the log cannot be read further: {fault['detail']}", self.count + 1)
            leaf, position = str(line["leaf"]).encode(), cast("int", line["position"])
            if line["hash"] is None or base64.b64decode(str(line["hash"])) != leaf_hash(leaf):
                raise EvidenceError(
                    "it does not have the hash that the log's tree has for it: the event was changed after it was"
                    " recorded, or the tree was.",
                    position,
                )
            self.count += 1
            yield leaf, [base64.b64decode(one) for one in cast("list[str]", line["proof"])]
        raise CommandError(Exit.UNREACHABLE, "the evidence is not whole: the service stopped in the middle of it")


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
