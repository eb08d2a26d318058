"""Evidence bundles: whole ones hold, whatever is changed in one is found, and an interrupted one is not one."""

import os
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.audit.record import decode_record
from domain.proofs.checkpoint import Checkpoint
from domain.proofs.errors import ProofError
from domain.proofs.merkle_tree import HASH_SIZE
from domain.proofs.signed_note import SignedNote, parse_note
from domain.proofs.tiles import Tile, decode_entries, encode_entries
from keyledger.evidence import (
    EvidenceError,
    FullBundleWriter,
    ProvenLeaf,
    TenantBundleWriter,
    verify_bundle,
)
from keyledger.proofs.signing_keys import LogSigner, WitnessSigner, generate_signing_key
from tests.support.audit_records import ANNA, BRUNO, Records, many, story
from tests.support.evidence import LOG, full_bundle, proven, signed, tenant_bundle
from tests.support.loaded import packages_loaded_by
from tests.support.merkle import root_of

STORY = story().leaves
MANY = many(700)


def files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def verdict_on(folder: Path, **options: Any) -> Any:
    return verify_bundle(folder, LOG.vkey, **options)


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    return full_bundle(tmp_path_factory.mktemp("evidence") / "full", STORY)


@pytest.fixture(scope="module")
def tenant(tmp_path_factory):
    return tenant_bundle(tmp_path_factory.mktemp("evidence") / "tenant", STORY)


@pytest.fixture
def copied(tmp_path):
    """A bundle of several tiles that a test may change."""
    return full_bundle(tmp_path / "bundle", MANY)


def test_a_full_bundle_holds_and_the_verdict_says_what_it_proved(full):
    verdict = verdict_on(full)
    assert verdict.holds, verdict.report()
    assert verdict.checkpoint.size == len(STORY)
    assert verdict.tenant_id is None
    assert verdict.not_interpreted == {"RequestRefused": 2}
    assert verdict.report().splitlines() == [
        f"proven  The checkpoint over 15 records is signed by log.example (key {LOG.key_id.hex()}).",
        "proven  All 15 records, 1 tile and the root were recomputed and are what was signed.",
        "proven  Positions run from 1 to 15, and versions from 1 in each of 4 streams, without a gap.",
        "proven  13 changes of credentials and encryption keys: each is a possible step after the one before.",
        "note    Not interpreted, but in their place: RequestRefused (2).",
        "The evidence holds.",
    ]


def test_a_full_bundle_has_the_files_of_a_static_tile_log(copied):
    assert [str(path.relative_to(copied)) for path in files_of(copied)] == [
        "README.txt",
        "checkpoint",
        "disclosures.jsonl",
        "tile/0/000",
        "tile/0/001",
        "tile/0/002.p/188",
        "tile/1/000.p/2",
        "tile/entries/000",
        "tile/entries/001",
        "tile/entries/002.p/188",
    ]
    assert (copied / "checkpoint").read_bytes() == signed(MANY)
    assert decode_entries((copied / "tile/entries/001").read_bytes(), 256) == MANY[256:512]


@pytest.mark.parametrize("count", [0, 1, 255, 256, 257, 512])
def test_a_log_of_any_length_holds(tmp_path, count):
    verdict = verdict_on(full_bundle(tmp_path / "bundle", MANY[:count]))
    assert verdict.holds, verdict.report()


def test_progress_is_told_to_the_end(copied, tmp_path):
    written, verified = list[tuple[int, int]](), list[tuple[int, int]]()
    FullBundleWriter(tmp_path / "other").write(MANY, signed(MANY), lambda *done: written.append(done))
    verdict_on(copied, progress=lambda *done: verified.append(done))
    assert written == verified == [(256, 700), (512, 700), (700, 700)]


def test_a_tenants_bundle_holds_and_has_nothing_of_others(tenant):
    verdict = verdict_on(tenant)
    assert verdict.holds, verdict.report()
    assert verdict.tenant_id == ANNA
    assert f"6 records of tenant {ANNA}: each is in the log" in verdict.report()
    assert "does not show that no record was left out" in verdict.report()
    assert all(BRUNO.encode() not in path.read_bytes() for path in files_of(tenant))
    names = ["README.txt", "checkpoint", "disclosures.jsonl", "records.jsonl", "tenant.json"]
    assert [path.name for path in files_of(tenant)] == names


def test_a_tenant_without_records_has_an_empty_bundle_that_holds(tmp_path):
    verdict = verdict_on(tenant_bundle(tmp_path / "bundle", STORY, "unheard"))
    assert verdict.holds, verdict.report()
    assert "0 records of tenant unheard" in verdict.report()


@given(st.data())
@pytest.mark.parametrize("kind", ["full", "tenant"])
def test_a_change_of_any_byte_is_found(kind, request, data):
    folder = request.getfixturevalue(kind)
    file = data.draw(st.sampled_from([file for file in files_of(folder) if file.stat().st_size]))
    content = file.read_bytes()
    at = data.draw(st.integers(0, len(content) - 1))
    other = data.draw(st.integers(0, 255).filter(lambda byte: byte != content[at]))
    try:
        file.write_bytes(content[:at] + bytes([other]) + content[at + 1 :])
        verdict = verdict_on(folder)
    finally:
        file.write_bytes(content)
    assert not verdict.holds
    assert "FAILED" in verdict.report()


@given(st.data())
@pytest.mark.parametrize("kind", ["full", "tenant"])
def test_a_file_that_is_cut_off_longer_or_missing_is_found(kind, request, data):
    folder = request.getfixturevalue(kind)
    file = data.draw(st.sampled_from([file for file in files_of(folder) if file.stat().st_size]))
    content = file.read_bytes()
    cut = data.draw(st.sampled_from(["cut", "longer", "missing"]))
    # A bundle of one tenant that ends after a whole line is a smaller one: that cannot be seen, and it says so.
    at = data.draw(st.integers(0, len(content) - 1).filter(lambda end: content[end - 1 : end] != b"\n"))
    try:
        file.unlink()
        if cut != "missing":
            file.write_bytes(content[:at] if cut == "cut" and at else content + b"\n")
        verdict = verdict_on(folder)
    finally:
        file.write_bytes(content)
    assert not verdict.holds


def rewrite(folder: Path, tile: Tile, entries: list[bytes]) -> None:
    (folder / tile.entries_path).write_bytes(encode_entries(entries))


def test_a_changed_record_is_named_by_its_position(copied):
    tile = Tile(0, 1)
    entries = [*MANY[256:300], MANY[300].replace(b"olga", b"otto"), *MANY[301:512]]
    rewrite(copied, tile, entries)
    verdict = verdict_on(copied)
    assert verdict.error.position == 301
    assert "the record was changed after it was signed" in verdict.error.meaning


def test_a_tile_that_was_made_to_fit_a_changed_record_is_found_one_level_up(copied):
    other = many(700)
    other[300] = other[300].replace(b"olga", b"otto")
    forged = full_bundle(copied.with_name("forged"), other)
    for name in (Tile(0, 1).path, Tile(0, 1).entries_path):
        shutil.copy(forged / name, copied / name)
    verdict = verdict_on(copied)
    assert verdict.error.position == 1
    assert "tile/1/000.p/2 does not match the hashes of the records from here on" in verdict.error.meaning


def test_a_log_that_was_rebuilt_around_a_changed_record_does_not_have_the_signed_root(tmp_path):
    other = many(700)
    other[300] = other[300].replace(b"olga", b"otto")
    forged = full_bundle(tmp_path / "forged", other)
    (forged / "checkpoint").write_bytes(signed(MANY))
    verdict = verdict_on(forged)
    assert verdict.error.position is None
    assert "not those that the checkpoint was signed over" in verdict.error.meaning


def test_a_record_that_was_removed_leaves_a_bundle_that_does_not_count_right(copied):
    rewrite(copied, Tile(0, 0), MANY[1:256])
    verdict = verdict_on(copied)
    assert verdict.error.position == 1
    assert "does not hold 256 records" in verdict.error.meaning


def test_tampering_is_told_before_its_consequences(tmp_path):
    impossible = Records().credential("Deleted").credential("Set", version=2).leaves
    bundle = full_bundle(tmp_path / "bundle", impossible)
    signed_verdict = verdict_on(bundle)
    assert signed_verdict.error.position == 1
    assert "deleted that does not exist" in signed_verdict.error.meaning
    assert any("were recomputed" in statement for statement in signed_verdict.proven), "it was signed like that"
    (bundle / "checkpoint").write_bytes(signed(STORY[:2]))
    assert "not those that the checkpoint was signed over" in verdict_on(bundle).error.meaning


def test_a_checkpoint_of_another_key_or_another_log_is_not_trusted(full):
    stranger = LogSigner(generate_signing_key("log.example"))
    verdict = verify_bundle(full, stranger.vkey)
    assert "no trusted key has signed it" in str(verdict.error)
    assert (verdict.proven, verdict.checkpoint) == ((), None)


def test_a_checkpoint_with_another_origin_than_its_key_is_refused(full, tmp_path):
    bundle = Path(shutil.copytree(full, tmp_path / "bundle"))
    elsewhere = Checkpoint("other.example", len(STORY), root_of([]))
    (bundle / "checkpoint").write_bytes(SignedNote(elsewhere.text).signed_by(LOG).render())
    assert "to another log" in verdict_on(bundle).error.meaning


@pytest.mark.parametrize(
    "vkey",
    ["", "nonsense", WitnessSigner(generate_signing_key("witness.example")).vkey],
    ids=["empty", "nonsense", "of a witness"],  # not the key itself: it is another one in each process
)
def test_a_key_that_is_not_a_logs_is_an_error_of_the_caller(full, vkey):
    with pytest.raises(ProofError):
        verify_bundle(full, vkey)
    with pytest.raises(ProofError):
        verify_bundle(full, LOG.vkey, witnesses=[LOG.vkey])


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 699, 700])
def test_a_log_goes_on_from_the_checkpoint_that_an_auditor_kept(copied, size):
    verdict = verdict_on(copied, since=signed(MANY[:size]).decode())
    assert verdict.holds, verdict.report()
    assert f"The first {size} record" in verdict.report()


@pytest.mark.parametrize("size", [1, 256, 300, 700])
def test_a_log_that_was_rewritten_and_signed_anew_is_found_by_the_kept_checkpoint(tmp_path, size):
    other = many(700)
    other[0] = other[0].replace(b"olga", b"otto")
    verdict = verdict_on(full_bundle(tmp_path / "forged", other), since=signed(MANY[:size]).decode())
    assert not verdict.holds
    assert "rewritten" in verdict.error.meaning


@pytest.mark.parametrize(
    ("since", "meaning"),
    [
        pytest.param(signed(many(701)).decode(), "records were removed", id="a longer one"),
        pytest.param(
            signed(MANY, LogSigner(generate_signing_key("log.example"))).decode(),
            "was not signed by this key",
            id="forged",
        ),
        pytest.param("", "was not signed by this key", id="nothing"),
        pytest.param("\ud800", "was not signed by this key", id="no text"),
    ],
)
def test_an_older_checkpoint_that_cannot_be_the_logs_is_told(copied, since, meaning):
    assert meaning in verdict_on(copied, since=since).error.meaning


def test_a_tenants_bundle_is_held_against_an_equal_checkpoint_and_against_no_smaller_one(tenant):
    assert verdict_on(tenant, since=signed(STORY).decode()).holds
    assert "cannot show that the log extends" in verdict_on(tenant, since=signed(STORY[:3]).decode()).error.meaning


def test_all_witnesses_that_are_asked_for_have_to_have_cosigned(full, tmp_path):
    noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    one, other = (WitnessSigner(generate_signing_key(f"{name}.example"), lambda: noon) for name in ("one", "other"))
    bundle = Path(shutil.copytree(full, tmp_path / "bundle"))
    (bundle / "checkpoint").write_bytes(parse_note(signed(STORY)).signed_by(one).render())
    verdict = verdict_on(bundle, witnesses=[one.vkey])
    assert verdict.holds
    assert f"one.example (key {one.key_id.hex()}) cosigned it on 2026-01-01T12:00:00+00:00." in verdict.proven
    assert "is not signed by other.example" in verdict_on(bundle, witnesses=[one.vkey, other.vkey]).error.meaning


@pytest.mark.parametrize(
    ("leaves", "position"),
    [
        pytest.param(MANY[:-1], 700, id="one too few"),
        pytest.param([*MANY, MANY[0]], 701, id="one too many"),
        pytest.param([*MANY[:-2], MANY[-1], MANY[-2]], None, id="another order"),
    ],
)
def test_a_bundle_of_other_records_than_the_checkpoints_is_not_written(tmp_path, leaves, position):
    with pytest.raises(EvidenceError) as error:
        FullBundleWriter(tmp_path / "bundle").write(leaves, signed(MANY))
    assert error.value.position == position
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["full", "tenant"])
def test_a_folder_with_something_in_it_is_left_as_it_is(tmp_path, kind):
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle/notes.txt").write_text("mine")
    with pytest.raises(OSError, match="not empty"):
        (full_bundle if kind == "full" else tenant_bundle)(tmp_path / "bundle", STORY)
    assert [path.name for path in files_of(tmp_path)] == ["notes.txt"]


def test_an_empty_folder_is_as_good_as_none(tmp_path):
    (tmp_path / "bundle").mkdir()
    assert verdict_on(full_bundle(tmp_path / "bundle", STORY)).holds


@pytest.mark.parametrize("after", [0, 100, 300])
def test_what_is_interrupted_leaves_nothing_behind(tmp_path, after):
    def interrupted():
        yield from MANY[:after]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        FullBundleWriter(tmp_path / "bundle").write(interrupted(), signed(MANY))
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_writer_leaves_is_not_taken_for_a_bundle(tmp_path, monkeypatch):
    """The draft stays, as after a kill: under another name, and without a checkpoint."""
    monkeypatch.setattr("keyledger.evidence.layout.finish", lambda *_: (_ for _ in ()).throw(OSError))
    monkeypatch.setattr("shutil.rmtree", lambda *_, **__: None)
    with pytest.raises(OSError):
        full_bundle(tmp_path / "bundle", STORY)
    (draft,) = tmp_path.iterdir()
    assert draft.name.startswith(".bundle.")
    assert "checkpoint is missing" in verdict_on(draft).error.meaning


@pytest.mark.parametrize(
    ("records", "meaning"),
    [
        pytest.param([*proven(STORY, BRUNO)], "not a record of this tenant", id="another tenant's"),
        pytest.param([*proven(STORY, ANNA)][::-1], "out of order", id="another order"),
        pytest.param([*proven(STORY, ANNA)][:1] * 2, "repeated", id="one twice"),
        pytest.param([ProvenLeaf(STORY[1], ())], "not proven", id="no proof"),
        pytest.param([ProvenLeaf(b"{}", ())], "not an audit record", id="no record"),
    ],
)
def test_a_tenants_bundle_of_what_is_not_proven_to_be_its_own_is_not_written(tmp_path, records, meaning):
    with pytest.raises(EvidenceError, match=meaning):
        TenantBundleWriter(tmp_path / "bundle").write(ANNA, records, signed(STORY))
    assert list(tmp_path.iterdir()) == []


def edited(folder: Path, lines) -> list[str]:
    file = folder / "records.jsonl"
    kept = file.read_text(encoding="utf-8").splitlines(keepends=True)
    file.write_text("".join(lines(kept)), encoding="utf-8")
    return kept


@pytest.mark.parametrize(
    ("lines", "meaning"),
    [
        pytest.param(lambda kept: [kept[0], *kept[2:]], "a record of the stream is missing", id="one left out"),
        pytest.param(lambda kept: [kept[1], kept[0], *kept[2:]], "out of order", id="two exchanged"),
        pytest.param(lambda kept: [kept[0], *kept], "repeated", id="one twice"),
        pytest.param(lambda kept: [kept[0], "\n", *kept[1:]], "a line after record 2 that is not", id="an empty line"),
        pytest.param(lambda kept: [kept[0].replace('"proof":["', '"proof":["x')], "in base64", id="no base64"),
        pytest.param(lambda kept: [kept[0].replace("[", "[1,")], "in base64", id="a number among the hashes"),
    ],
)
def test_a_tenants_bundle_that_was_edited_is_found(tenant, tmp_path, lines, meaning):
    bundle = Path(shutil.copytree(tenant, tmp_path / "bundle"))
    edited(bundle, lines)
    assert meaning in verdict_on(bundle).error.meaning


def test_a_tenants_bundle_under_the_name_of_another_is_found(tenant, tmp_path):
    bundle = Path(shutil.copytree(tenant, tmp_path / "bundle"))
    head = bundle / "tenant.json"
    head.write_text(head.read_text().replace(ANNA, BRUNO))
    assert "not a record of this tenant" in verdict_on(bundle).error.meaning


def test_what_is_no_file_is_not_waited_for(tmp_path, full):
    bundle = Path(shutil.copytree(full, tmp_path / "bundle"))
    (bundle / "checkpoint").unlink()
    os.mkfifo(bundle / "checkpoint")
    assert "checkpoint is not a regular file" in verdict_on(bundle).error.meaning


def test_a_file_that_is_larger_than_can_be_is_not_read_to_its_end(copied):
    tile = copied / Tile(0, 0).path
    tile.write_bytes(tile.read_bytes() + bytes(HASH_SIZE))
    assert "larger than such a file can be" in verdict_on(copied).error.meaning


@pytest.mark.parametrize("folder", ["missing", "empty"])
def test_a_folder_that_is_no_bundle_is_a_fault(tmp_path, folder):
    (tmp_path / "empty").mkdir()
    assert "checkpoint is missing" in verdict_on(tmp_path / folder).error.meaning


def test_the_records_of_a_bundle_are_those_that_went_in(full):
    entries = decode_entries((full / Tile(0, 0, 15).entries_path).read_bytes(), 15)
    assert [decode_record(entry).position for entry in entries] == list(range(1, 16))


def test_evidence_is_verified_without_the_service_its_database_and_its_libraries():
    ours = packages_loaded_by("import keyledger.evidence")
    assert "keyledger" in ours
    assert {name for name in ours if not name.startswith("_")} <= {"cryptography", "domain", "keyledger"}
