"""`audit bundle`: downloads evidence from a running service into a folder that can be verified anywhere.

Promises: a bundle exists completely or not at all; each downloaded record is compared with its hash in the log's tree,
and the first that differs is named.
"""

import base64
import errno
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Annotated, cast
from urllib.parse import urlencode

import typer

from scripts.terminal.exits import CommandError, Exit
from scripts.terminal.output import say
from scripts.terminal.progress import ProgressDisplay
from scripts.terminal.service_client import DEFAULT_URL, KeyFileOption, ServiceClient, UrlOption, admin_key

_EVIDENCE = "/api/v1/audit/evidence"
Progress = Callable[[int, int], None]
"""Called with the number of finished records and the total."""


def bundle(
    *,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Folder to create.", show_default=False)
    ],
    tenant_id: Annotated[
        str | None,
        typer.Option("--tenant", help="Bundle only this tenant's records, with inclusion proofs.", show_default=False),
    ] = None,
    url: UrlOption = DEFAULT_URL,
    api_key_file: KeyFileOption = None,
) -> None:
    """Download evidence into a bundle. It covers the whole log or one tenant, and can be verified offline."""
    from keyledger.evidence import EvidenceError

    query = f"?{urlencode({'tenant_id': tenant_id})}" if tenant_id else ""
    try:
        with (
            ServiceClient(url, admin_key(api_key_file)) as service,
            service.stream(f"{_EVIDENCE}{query}") as pieces,
            ProgressDisplay() as display,
        ):
            count = _write(
                output, tenant_id, _lines(pieces), lambda done, of: display.update("downloading records", done, of)
            )
    except CommandError as ended:
        if ended.code is Exit.ERROR_FOUND:
            raise CommandError(ended.code, *ended.lines, "no bundle was written") from None
        raise
    except OSError as problem:
        if problem.errno == errno.ENOTEMPTY:
            raise CommandError(Exit.USAGE, f"--output: {problem.strerror}") from None
        raise CommandError(Exit.REFUSED, f"--output: cannot write {output}: {problem.strerror}") from None
    except EvidenceError as error:
        raise CommandError(
            Exit.ERROR_FOUND, str(error), "no bundle was written: the log differs from its signed checkpoint"
        ) from None
    say(f"{count:,} records in {output}; verify them with: keyledger audit verify {output} --public-key VKEY")


def _write(output: Path, tenant_id: str | None, lines: Iterator[Mapping[str, object]], progress: Progress) -> int:
    """Write the bundle and return the number of its records. Raises EvidenceError, OSError."""
    from keyledger.evidence import FullBundleWriter, ProvenLeaf, TenantBundleWriter

    head = next(lines, {})
    if not isinstance(head.get("checkpoint"), str):
        raise CommandError(Exit.UNREACHABLE, "the response is not evidence from a KeyLedger service")
    checkpoint, size = str(head["checkpoint"]).encode(), cast("int", head["size"])
    with tempfile.TemporaryFile() as disclosed:  # written after the records, which may be many
        records = _Records(lines, disclosed)
        if tenant_id is None:
            FullBundleWriter(output).write((leaf for leaf, _ in records), checkpoint, progress, _again(disclosed))
        else:
            proven = (ProvenLeaf(leaf, proof) for leaf, proof in records)
            TenantBundleWriter(output).write(tenant_id, proven, checkpoint, _again(disclosed))
            progress(records.count, size if records.count == size else records.count)
    return records.count


def _again(written: IO[bytes]) -> Iterator[bytes]:
    """Yield the lines that were written to a file by the time they are asked for."""
    written.seek(0)
    yield from written


def _lines(pieces: Iterator[bytes]) -> Iterator[Mapping[str, object]]:
    """Yield the objects of a stream of JSON lines. Raises CommandError for a line that is not a JSON object."""
    rest = b""
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            yield _parsed(line)
    if rest:
        raise CommandError(Exit.UNREACHABLE, "the evidence ends in the middle of a record")


def _parsed(line: bytes) -> Mapping[str, object]:
    try:
        members = json.loads(line)
    except ValueError:
        members = None
    if not isinstance(members, dict):
        raise CommandError(Exit.UNREACHABLE, "the response is not evidence from a KeyLedger service")
    return members


class _Records:
    """The records of the stream, each compared with its hash in the log's tree, up to the end line.

    disclosed: where the lines about personal members are written as the records are read.
    """

    def __init__(self, lines: Iterator[Mapping[str, object]], disclosed: IO[bytes]) -> None:
        self._lines = lines
        self._disclosed = disclosed
        self.count = 0

    def __iter__(self) -> Iterator[tuple[bytes, list[bytes]]]:
        from domain.events.personal import Disclosure, to_bytes
        from domain.proofs.merkle_tree import leaf_hash
        from keyledger.evidence import EvidenceError
        from keyledger.evidence.disclosures import line_of

        for line in self._lines:
            if "end" in line:
                return
            if "fault" in line:
                error = cast("Mapping[str, str]", line["fault"])
                raise EvidenceError(f"the log cannot be read further: {error['detail']}", self.count + 1)
            leaf, position = str(line["leaf"]).encode(), cast("int", line["position"])
            if line["hash"] is None or base64.b64decode(str(line["hash"])) != leaf_hash(leaf):
                raise EvidenceError(
                    "its hash differs from the one in the log's tree: the event or the tree was changed after it was"
                    " recorded.",
                    position,
                )
            self.count += 1
            for member, value in sorted(cast("dict[str, dict[str, str]]", line["disclosed"]).items()):
                disclosed = Disclosure(value["value"], to_bytes(value["opening"]))
                self._disclosed.write(line_of(position, member, disclosed))
            yield leaf, [base64.b64decode(one) for one in cast("list[str]", line["proof"])]
        raise CommandError(Exit.UNREACHABLE, "the evidence is incomplete: the service stopped sending it")
