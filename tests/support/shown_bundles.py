"""Shows every bundle that this process writes to the verifiers of others, wherever in the suite that happens.

The writers are wrapped for the whole run, so a new test that makes a bundle is covered without a word about it. Equal
bundles are shown once.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from domain.proofs.signed_note import parse_note
from keyledger.evidence import FullBundleWriter, TenantBundleWriter
from keyledger.proofs.signing_keys import LogSigner
from tests.support.claims import claims_of
from tests.support.foreign_verifiers import PYTHON, GoVerifier, Judge, can_build_go, disagreeing, go_verifier


class Exhibition:
    """Knows the verifier keys of this process, and which bundles were shown."""

    def __init__(self, go: GoVerifier | None) -> None:
        self._go = go
        self._judges: dict[str, Judge] = {**PYTHON, **({"sumdb": go} if go else {})}
        self._vkeys: dict[tuple[str, bytes], str] = {}
        self._shown: set[bytes] = set()

    def learn(self, signer: LogSigner) -> None:
        """Remember the verifier key of a log that is about to sign."""
        self._vkeys[signer.name, signer.key_id] = signer.vkey

    def show(self, folder: Path) -> None:
        """Fail unless every other verifier accepts every claim of a bundle, as we do."""
        note = (folder / "checkpoint").read_bytes()
        for signature in parse_note(note).signatures:
            vkey = self._vkeys.get((signature.name, signature.key_id))
            if vkey is not None and (content := _digest(folder)) not in self._shown:
                self._shown.add(content)
                self._compare(folder, vkey)

    def _compare(self, folder: Path, vkey: str) -> None:
        for claim in claims_of(folder, vkey):
            others = disagreeing(self._judges, claim)
            assert claim.holds(), f"a bundle was published that makes a wrong claim: {claim}"
            assert not others, f"{', '.join(others)} refuses our bundle: {claim}"
        if self._go is not None and (folder / "tile").exists():
            assert self._go.reads(folder) == ""


@contextmanager
def shown_to_others(folder: Path) -> Iterator[None]:
    """Wrap the writers of bundles. folder: for the program in Go, where it can be built."""
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        exhibition = Exhibition(stack.enter_context(go_verifier(folder)) if can_build_go() else None)
        sign = LogSigner.sign

        def signed(self: LogSigner, text: bytes) -> bytes:
            exhibition.learn(self)
            return sign(self, text)

        patch.setattr(LogSigner, "sign", signed)
        for writer in (FullBundleWriter, TenantBundleWriter):
            patch.setattr(writer, "write", _shown(writer.write, exhibition))
        yield


def _shown(write: Any, exhibition: Exhibition) -> Any:
    def written(self: Any, *arguments: Any, **named: Any) -> None:
        write(self, *arguments, **named)
        exhibition.show(self._folder)

    return written


def _digest(folder: Path) -> bytes:
    digest = sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + sha256(path.read_bytes()).digest())
    return digest.digest()
