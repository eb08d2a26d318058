"""The folder of an evidence bundle: names, and how it is written and read.

    checkpoint        signed note: the state of the log that the bundle covers; written last
    README.txt        what the bundle is and how to verify it; the same text in every bundle of the format
    disclosures.jsonl the values of personal members whose keys exist: {"member", "opening", "position", "value"}
  full bundle
    tile/             tiles and entry bundles, as C2SP tlog-tiles names them
  bundle of one tenant
    tenant.json       {"format", "tenant_id", "tree_size"}
    records.jsonl     one record per line: {"leaf", "position", "proof"}

Promises: a bundle appears under its name only once it is complete; an interrupted one is left in the same parent folder
under a name that begins with a dot, without its checkpoint. Only its owner can enter the folder. A bundle can be made
again, so nothing is forced to disk: after a crash of the machine, verify it.
Refuses: a folder that is not empty. Readers accept only regular files of a bounded size.
"""

import errno
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from domain.proofs.signed_note import MAX_NOTE_SIZE
from domain.proofs.tiles import MAX_ENTRY_SIZE
from keyledger.evidence.errors import EvidenceError

CHECKPOINT, README, TENANT, RECORDS = "checkpoint", "README.txt", "tenant.json", "records.jsonl"
DISCLOSURES = "disclosures.jsonl"
# A leaf with every byte escaped, and the longest possible proof.
_MAX_LINE = 6 * MAX_ENTRY_SIZE + 64 * 64 + 256
FORMAT = "keyledger-tenant-evidence/v1"

README_TEXT = """\
KeyLedger evidence bundle
=========================

This folder shows what is in the audit log of a KeyLedger service, in a form that can be checked without the service,
without its database and without any secret. It holds no API key.

What you need besides the folder
    The verifier key of the log, a line of the form name+hash+base64. Get it from the operator by another way than this
    folder, and keep it. Keep the file "checkpoint" of every bundle that you check, too: it is what later bundles are
    held against.

How to check it
    Any installation of KeyLedger can do it offline, see "evidence" in its documentation. For a bundle with a folder
    "tile", any other tool for tiled transparency logs (C2SP tlog-tiles) can do it as well.

What a check shows
    - The checkpoint was signed by the owner of the key: origin of the log, number of records, root of its Merkle tree.
    - Every record is in that tree, in its place, unchanged since it was signed.
    - With a checkpoint that you kept: nothing before it was changed, removed or inserted since.
    - What the records say is possible: numbers without gaps, and no step that the life of a credential or of an
      encryption key does not have.

What it does not show
    That every act was recorded; that what was recorded is true; for a bundle of one tenant (with a file "tenant.json"),
    that no record of the tenant was left out.

The formats
    checkpoint      C2SP signed-note and tlog-checkpoint
    tile/           C2SP tlog-tiles; hashes as in RFC 6962; each record is canonical JSON
    records.jsonl   in a bundle of one tenant: record, position from 1, and inclusion proof as in RFC 6962
    disclosures.jsonl
                    names, addresses and reasons, of which a record holds only commitments: HMAC-SHA256 under the
                    opening over the name of the member and the value, each preceded by its length in four bytes.
                    A member without a line here was recorded, and erased since or left out.
"""


def _in_use(folder: Path) -> OSError:
    return OSError(
        errno.ENOTEMPTY, "the folder is not empty; a bundle needs a folder of its own: name a new one", str(folder)
    )


@contextmanager
def bundle_folder(folder: Path) -> Iterator[Path]:
    """Yield a draft folder, and rename it to `folder` at the end. An exception inside removes the draft.

    Raises OSError: with ENOTEMPTY for a folder that is not empty, which is left unchanged.
    """
    if folder.exists() and any(folder.iterdir()):
        raise _in_use(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        yield draft
        try:
            draft.replace(folder)
        except OSError:
            if folder.is_dir() and any(folder.iterdir()):
                raise _in_use(folder) from None
            raise
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise


def finish(draft: Path, checkpoint: bytes, disclosures: Iterable[bytes]) -> None:
    """Write the files that every bundle has; the checkpoint last. disclosures: lines, read once all records are."""
    with (draft / DISCLOSURES).open("wb") as file:
        file.writelines(disclosures)
    (draft / README).write_text(README_TEXT, encoding="utf-8")
    (draft / CHECKPOINT).write_bytes(checkpoint)


def read(folder: Path, name: str, limit: int, position: int | None = None) -> bytes:
    """Return the content of a file of a bundle. position: of the first record it concerns. Raises EvidenceError.

    The bundle is not trusted: only regular files are read, so a pipe cannot block, and at most `limit` bytes.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        with os.fdopen(os.open(folder / name, flags), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise EvidenceError(f"{name} is not a regular file.", position)
            content = file.read(limit + 1)
    except FileNotFoundError:
        raise EvidenceError(f"{name} is missing from the bundle.", position) from None
    except OSError as failure:
        raise EvidenceError(f"{name} cannot be read ({failure.strerror}).", position) from None
    if len(content) > limit:
        raise EvidenceError(f"{name} is larger than such a file can be.", position)
    return content


def line_of(members: Mapping[str, Any]) -> bytes:
    """Return the only valid line with these members."""
    return json.dumps(members, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode() + b"\n"


def parsed(line: bytes, types: Mapping[str, type]) -> dict[str, Any] | None:
    """Return the members of a line that `line_of` wrote, None for any other line."""
    try:
        members = json.loads(line)
        if type(members) is not dict or {name: type(value) for name, value in members.items()} != types:
            return None
        return members if line_of(members) == line else None
    except (ValueError, RecursionError):
        return None


def lines(folder: Path, name: str) -> Iterator[bytes]:
    """Yield the lines of a file; a line that is truncated or too long is yielded in parts, which do not parse."""
    try:
        if not (folder / name).is_file():
            raise EvidenceError(f"{name} is missing from the bundle.")
        with (folder / name).open("rb") as file:
            while line := file.readline(_MAX_LINE):
                yield line
    except OSError as failure:
        raise EvidenceError(f"{name} cannot be read ({failure.strerror}).") from None


def read_checkpoint(folder: Path) -> bytes:
    """Return the signed checkpoint of a bundle, not verified. Raises EvidenceError."""
    return read(folder, CHECKPOINT, MAX_NOTE_SIZE)


def require_readme(folder: Path) -> None:
    """Raise EvidenceError unless README.txt has the text of this format: its reader may follow its instructions."""
    text = README_TEXT.encode()
    if read(folder, README, len(text)) != text:
        raise EvidenceError(f"{README} does not have the text of this format. Do not follow its instructions.")
