"""Verifiers of transparency logs that others wrote. Each judges the claims of a bundle with code that is not ours.

`metamorphic-log` (Rust) and `proofbundle` (Python) are installed with the tests. The third is Go's checksum database,
`golang.org/x/mod/sumdb`, which Debian packages: `apt-get install golang-go golang-golang-x-mod-dev`.
"""

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from domain.proofs.checkpoint import parse_checkpoint
from domain.proofs.merkle_tree import leaf_hash
from domain.proofs.signed_note import parse_note
from tests.support.claims import Claim, Consistency, Inclusion, Note
from tests.support.places import REPOSITORY

GO_MISSING = "Go's sumdb is not installed (apt-get install golang-go golang-golang-x-mod-dev)"
_GO_PATH = Path("/usr/share/gocode")

Judge = Callable[[Claim], bool]
"""Whether a verifier accepts a claim."""


def metamorphic_log(claim: Claim) -> bool:
    """Judge with metamorphic-log."""
    import metamorphic_log as verifier  # type: ignore[import-untyped]  # ships no types

    try:
        match claim:
            case Note(note, vkey):
                verifier.checkpoint_verify(note.decode(), [vkey])
            case Inclusion(index, size, leaf, proof, root):
                verifier.verify_inclusion(index, size, leaf_hash(leaf), list(proof), root)
            case Consistency(older, size, proof, older_root, root):
                verifier.verify_consistency(older, size, list(proof), older_root, root)
    except (verifier.VerifyError, ValueError, OverflowError):
        return False
    return True


def proofbundle(claim: Claim) -> bool:
    """Judge with proofbundle."""
    from proofbundle.checkpoint import verify_checkpoint
    from proofbundle.errors import ProofBundleError
    from proofbundle.merkle import verify_consistency, verify_inclusion

    match claim:
        case Note(note, vkey):
            try:
                return bool(verify_checkpoint(note.decode(), vkey)["ok"])
            except (ProofBundleError, UnicodeDecodeError):
                return False
        case Inclusion(index, size, leaf, proof, root):
            return bool(verify_inclusion(leaf, index, size, list(proof), root))
        case Consistency(older, size, proof, older_root, root):
            return bool(verify_consistency(older, size, list(proof), older_root, root))


PYTHON: Mapping[str, Judge] = {"metamorphic-log": metamorphic_log, "proofbundle": proofbundle}


class GoVerifier:
    """Go's `sumdb/note` and `sumdb/tlog` in a process of their own."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def __call__(self, claim: Claim) -> bool:
        """Judge a claim."""
        match claim:
            case Note(note, vkey):
                return not self._asked("note", note=_text(note), vkey=vkey)
            case Inclusion(index, size, leaf, proof, root):
                hashes = {"leaf": _text(leaf_hash(leaf)), "root": _text(root), "proof": list(map(_text, proof))}
                return not self._asked("inclusion", index=index, size=size, **hashes)
            case Consistency(older, size, proof, older_root, root):
                hashes = {"olderRoot": _text(older_root), "root": _text(root), "proof": list(map(_text, proof))}
                return not self._asked("consistency", older=older, size=size, **hashes)

    def reads(self, folder: Path) -> str:
        """Prove every record of a full bundle from its tiles; return why that fails, or nothing."""
        checkpoint = parse_checkpoint(parse_note((folder / "checkpoint").read_bytes()).text)
        size = checkpoint.size
        return self._asked(
            "bundle", folder=str(folder.resolve()), size=size, root=_text(checkpoint.root), older=size // 2
        )

    def _asked(self, ask: str, **members: object) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"ask": ask, **members}) + "\n")
        self._process.stdin.flush()
        return str(json.loads(self._process.stdout.readline())["refused"])


def can_build_go() -> bool:
    """Whether the compiler and the library are installed."""
    return shutil.which("go") is not None and (_GO_PATH / "src/golang.org/x/mod/sumdb/tlog").is_dir()


@contextmanager
def go_verifier(folder: Path) -> Iterator[GoVerifier]:
    """Build the program in a folder of the caller's, which takes half a second, and run it. It asks no network."""
    program = folder / "go_verifier"
    environment = {
        "PATH": os.environ.get("PATH", ""),
        "HOME": str(folder),
        "GOCACHE": str(folder / "cache"),
        "GOPATH": str(_GO_PATH),
        "GO111MODULE": "off",
        "GOFLAGS": "",
    }
    source = REPOSITORY / "tests/support/go_verifier.go"
    subprocess.run(["go", "build", "-o", str(program), str(source)], env=environment, check=True, timeout=300)
    process = subprocess.Popen(
        [str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )
    try:
        yield GoVerifier(process)
    finally:
        process.communicate()


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()


def disagreeing(judges: Mapping[str, Judge], claim: Claim) -> list[str]:
    """Return the verifiers that judge a claim differently than we do, apart from how its signatures are spelled."""
    ours = claim.holds()
    allowed = {ours, claim.respelled().holds()} if isinstance(claim, Note) else {ours}
    return [name for name, judge in judges.items() if judge(claim) not in allowed]
