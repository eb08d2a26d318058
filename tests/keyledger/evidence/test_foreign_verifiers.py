"""Verifiers that others wrote judge our bundles, whole and damaged ones, as we do.

Every bundle that the suite writes is shown to them (`tests.support.shown_bundles`). Here they see random ones, most of
which were changed. A change that we find and they do not is a disagreement where it concerns what they judge: the note,
the root, and the proofs of inclusion and consistency.
"""

import random
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from domain.proofs.signed_note import parse_note
from domain.proofs.tiles import Tile
from keyledger.evidence import verify_bundle
from keyledger.proofs.signing_keys import LogSigner, WitnessSigner, generate_signing_key
from tests.support.audit_records import ANNA, many, story
from tests.support.claims import Claim, Inclusion, Note, claims_of
from tests.support.effort import STRANGE_BUNDLES
from tests.support.evidence import LOG, full_bundle, tenant_bundle
from tests.support.foreign_verifiers import GO_MISSING, PYTHON, Judge, can_build_go, disagreeing, go_verifier
from tests.support.shown_bundles import Exhibition

PARTS = 8
"""Tests that share the random bundles, so that they run on all cores."""
LEAVES = many(600)
SIGNERS = [LOG, *(LogSigner(generate_signing_key(name)) for name in ("log.example", "example.org/ledger", "x"))]
BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
WITNESS = WitnessSigner(generate_signing_key("witness.example"), lambda: datetime(2026, 1, 1, tzinfo=UTC))


@pytest.fixture(scope="module")
def judges(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Judge]]:
    """All that are installed."""
    if not can_build_go():
        yield PYTHON
        return
    with go_verifier(tmp_path_factory.mktemp("verifier")) as go:
        yield {**PYTHON, "sumdb": go}


def test_sumdb_is_among_them_where_it_is_installed(judges: Mapping[str, Judge]) -> None:
    if not can_build_go():
        pytest.skip(GO_MISSING)
    assert len(judges) == 3


def test_sumdb_reads_a_full_bundle_from_its_tiles_and_finds_what_was_changed(tmp_path: Path) -> None:
    if not can_build_go():
        pytest.skip(GO_MISSING)
    bundle = full_bundle(tmp_path / "bundle", LEAVES)
    with go_verifier(tmp_path) as go:
        assert go.reads(bundle) == ""
        entries = bundle / Tile(0, 1).entries_path
        honest = entries.read_bytes()
        entries.write_bytes(honest.replace(b'"position":301,', b'"position":300,'))
        assert "record 301" in go.reads(bundle)
        entries.write_bytes(honest)
        tile = bundle / Tile(0, 1).path
        tile.write_bytes(tile.read_bytes()[:-1] + b"\0")
        assert go.reads(bundle) != ""


def test_a_witness_of_ours_is_one_to_another_verifier(tmp_path: Path) -> None:
    from proofbundle.checkpoint import verify_cosignature

    note = parse_note((full_bundle(tmp_path / "bundle", LEAVES[:5]) / "checkpoint").read_bytes())
    cosigned = note.signed_by(WITNESS).render().decode()
    verdict = verify_cosignature(cosigned, WITNESS.vkey)
    assert (verdict["ok"], verdict["tree_size"]) == (True, 5)
    assert not verify_cosignature(cosigned.replace("\n5\n", "\n6\n"), WITNESS.vkey)["ok"]


def test_a_bundle_that_another_verifier_refuses_is_not_published_unnoticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = full_bundle(tmp_path / "bundle", story().leaves)
    exhibition = Exhibition(None)
    exhibition.learn(LOG)
    monkeypatch.setattr(exhibition, "_judges", {"doubter": lambda claim: isinstance(claim, Note)})
    with pytest.raises(AssertionError, match="doubter"):
        exhibition.show(bundle)


def test_we_read_one_spelling_of_a_signature_and_go_reads_any(judges: Mapping[str, Judge], tmp_path: Path) -> None:
    note = (full_bundle(tmp_path / "bundle", LEAVES[:2]) / "checkpoint").read_bytes()
    at = note.index(b"=", note.rindex(b" ")) - 1
    other = BASE64[BASE64.index(note[at]) + 1]  # the bits that no byte uses
    claim = Note(note[:at] + bytes([other]) + note[at + 1 :], LOG.vkey)
    assert (claim.holds(), claim.respelled().note, Note(note, LOG.vkey).holds()) == (False, note, True)
    assert judges["proofbundle"](claim)
    assert not judges["metamorphic-log"](claim)


def random_bundle(chance: random.Random, folder: Path) -> tuple[Path, str]:
    """A bundle of either kind, of some size, and the key it is verified with."""
    size = chance.choice([*range(1, 40), 64, 65, 255, 256, 257, 512, chance.randint(1, 600)])
    start = chance.randrange(len(LEAVES) - size + 1)
    if chance.random() < 0.4:
        bundle, signer = tenant_bundle(folder / "tenant", chance.choice([story().leaves, LEAVES[:size]]), ANNA), LOG
    else:
        signer = chance.choice(SIGNERS)
        bundle = full_bundle(folder / "full", LEAVES[start : start + size], signer)
    if chance.random() < 0.3:
        note = parse_note((bundle / "checkpoint").read_bytes())
        (bundle / "checkpoint").write_bytes(note.signed_by(WITNESS).render())
    return bundle, signer.vkey if chance.random() < 0.9 else chance.choice(SIGNERS).vkey


def some_file(chance: random.Random, bundle: Path) -> Path:
    ours = {"README.txt", "disclosures.jsonl"}  # which the others do not read
    files = sorted(path for path in bundle.rglob("*") if path.is_file() and path.name not in ours)
    return bundle / "checkpoint" if chance.random() < 0.4 else chance.choice(files)


def flip(chance: random.Random, bundle: Path) -> None:
    file = some_file(chance, bundle)
    content = bytearray(file.read_bytes())
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    file.write_bytes(content)


def cut(chance: random.Random, bundle: Path) -> None:
    file = some_file(chance, bundle)
    content = file.read_bytes()
    file.write_bytes(content[: chance.randrange(len(content))])


def lengthen(chance: random.Random, bundle: Path) -> None:
    file = some_file(chance, bundle)
    file.write_bytes(file.read_bytes() + chance.choice([b"\n", b"\0" * 32, b" ", b"x\n"]))


def remove(chance: random.Random, bundle: Path) -> None:
    some_file(chance, bundle).unlink()


def exchange(chance: random.Random, bundle: Path) -> None:
    """Two blocks of a file change places: hashes, signatures, or whatever is there."""
    file = some_file(chance, bundle)
    content = file.read_bytes()
    width = min(32, len(content) // 2)
    one, other = sorted(chance.sample(range(len(content) // width), 2))
    blocks = [content[at : at + width] for at in range(0, len(content), width)]
    blocks[one], blocks[other] = blocks[other], blocks[one]
    file.write_bytes(b"".join(blocks))


def another_checkpoint(chance: random.Random, bundle: Path) -> None:
    other = full_bundle(bundle.with_name("other"), LEAVES[: chance.randint(1, 300)], chance.choice(SIGNERS))
    shutil.copy(other / "checkpoint", bundle / "checkpoint")


def retouched_note(chance: random.Random, bundle: Path) -> None:
    """The text of the note or of a signature line, as a careful forger would change it."""
    file = bundle / "checkpoint"
    note = file.read_bytes()
    lines = note.split(b"\n")
    size = lines[1]
    lines.insert(chance.randint(1, len(lines)), chance.choice([b"", b"extension", lines[-2], b"\xe2\x80\x94 x AAAA"]))
    another = chance.choice([b"0" + size, b"-" + size, size + b" ", b"%d" % (int(size) + 1), b"9" * 19])
    file.write_bytes(chance.choice([b"\n".join(lines), note.replace(b"\n" + size + b"\n", b"\n" + another + b"\n")]))


def nothing(chance: random.Random, bundle: Path) -> None:
    """The bundle stays whole."""


Mutation = Callable[[random.Random, Path], None]
MUTATIONS: tuple[Mutation, ...] = (
    nothing,
    flip,
    cut,
    lengthen,
    remove,
    exchange,
    another_checkpoint,
    retouched_note,
)


def changed_claim(chance: random.Random, claim: Claim) -> Claim:
    """The claim with one of its members changed."""
    if isinstance(claim, Note):
        return claim
    change = chance.choice(["proof", "size", "place", "root"])
    if change == "size":
        return replace(claim, size=max(1, claim.size + chance.choice([-1, 1, claim.size, -claim.size // 2])))
    if change == "root":
        return replace(claim, root=flipped(chance, claim.root))
    if change == "proof":
        return replace(claim, proof=changed_proof(chance, claim.proof))
    if isinstance(claim, Inclusion):
        return replace(claim, index=max(0, claim.index + chance.choice([-1, 1, 2])))
    return chance.choice(
        [
            replace(claim, older=max(1, claim.older + chance.choice([-1, 1]))),
            replace(claim, older_root=flipped(chance, claim.older_root)),
        ]
    )


def flipped(chance: random.Random, content: bytes) -> bytes:
    at = chance.randrange(len(content))
    return content[:at] + bytes([content[at] ^ 1 << chance.randrange(8)]) + content[at + 1 :]


def changed_proof(chance: random.Random, proof: tuple[bytes, ...]) -> tuple[bytes, ...]:
    if not proof:
        return (bytes(32),)
    at = chance.randrange(len(proof))
    return chance.choice(
        [
            proof[:at] + proof[at + 1 :],
            (*proof[:at], flipped(chance, proof[at]), *proof[at + 1 :]),
            (*proof, bytes(32)),
            (bytes(32), *proof),
            proof[::-1],
            (*proof[:at], proof[at][:-1], *proof[at + 1 :]),
        ]
    )


@pytest.mark.parametrize("part", range(PARTS))
def test_random_bundles_and_mutations_are_judged_alike(judges: Mapping[str, Judge], tmp_path: Path, part: int) -> None:
    for number in range(part, STRANGE_BUNDLES, PARTS):
        chance = random.Random(f"bundle {number}")
        folder = tmp_path / str(number)
        bundle, vkey = random_bundle(chance, folder)
        mutation = chance.choice(MUTATIONS)
        mutation(chance, bundle)
        claims = list(claims_of(bundle, vkey))
        for claim in [*claims[:1], *chance.sample(claims, min(25, len(claims)))]:
            assert disagreeing(judges, claim) == [], (number, mutation.__name__, claim)
        for claim in chance.sample(claims, min(5, len(claims))):
            changed = changed_claim(chance, claim)
            assert disagreeing(judges, changed) == [], (number, "a changed claim", changed)
        if verify_bundle(bundle, vkey).holds:
            assert claims, number
            assert all(claim.holds() for claim in claims), (number, mutation.__name__)
        shutil.rmtree(folder)
