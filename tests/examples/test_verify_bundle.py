"""The example verifier, which knows the format from the documentation alone, accepts good evidence and nothing else."""

import io
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from uuid import UUID

import pytest

import keyledger
from domain.audit.record import decode_record
from domain.events.personal import COMMITTED, Disclosure, commitment_of
from domain.proofs.tiles import decode_entries, encode_entries
from keyledger.evidence import FullBundleWriter, TenantBundleWriter
from keyledger.evidence.disclosures import line_of
from keyledger.proofs.signing_keys import LogSigner, generate_signing_key
from tests.support.audit_records import ANNA, BRUNO, Records, story
from tests.support.evidence import LOG, full_bundle, proven, signed, tenant_bundle

EXAMPLE = Path(keyledger.__file__).parents[1] / "examples" / "verify_bundle.py"
OPENING = bytes(range(16))
COUNT = 300
"""Records, more than a tile holds; the last one is about a read, the others are about credentials."""

Change = Callable[[bytes], bytes]


def records() -> list[bytes]:
    made = Records()
    for number in range(1, COUNT):
        actor = COMMITTED + commitment_of("actor", f"person {number} é", OPENING)
        made.credential("Set", (ANNA, BRUNO)[number % 2], f"provider-{number % 3}", actor=actor)
    query = COMMITTED + commitment_of("query", "actor:olga", OPENING)
    return made.add("AuditRead", UUID(int=9), details={"query": query}, actor="service", tenant_id=ANNA).leaves


def disclosures(tenant: str | None) -> list[bytes]:
    """The lines for the personal members of a tenant's records, or of all."""
    found = [record for record in map(decode_record, LEAVES) if tenant in {None, record.tenant_id}]
    values = [(one.position, "actor", f"person {one.position} é") for one in found if one.position < COUNT]
    values.append((COUNT, "query", "actor:olga"))
    return [line_of(position, member, Disclosure(value, OPENING)) for position, member, value in values]


LEAVES = records()


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    """The folder with a good bundle of each kind."""
    folder = tmp_path_factory.mktemp("bundles")
    FullBundleWriter(folder / "full").write(LEAVES, signed(LEAVES), disclosures=disclosures(None))
    TenantBundleWriter(folder / "one").write(ANNA, proven(LEAVES, ANNA), signed(LEAVES), disclosures(ANNA))
    return folder


def run_apart(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the program as a process of its own."""
    command = [sys.executable, EXAMPLE, *arguments]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the program in this process, which takes a tenth of the time."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", [str(EXAMPLE), *map(str, arguments)])
        try:
            runpy.run_path(str(EXAMPLE), run_name="__main__")
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 1
            err.write(ended.code if isinstance(ended.code, str) else "")
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


@pytest.mark.parametrize(("kind", "proven_records"), [("full", COUNT), ("one", 150)])
def test_good_evidence_is_accepted(bundles, kind, proven_records):
    shown = run_apart(bundles / kind, LOG.vkey)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert (
        f"proven {proven_records} of {COUNT} records, {proven_records} of {proven_records} personal members"
        in shown.stdout
    )


def test_an_empty_log_and_logs_of_any_width_are_accepted(tmp_path):
    for count in (0, 1, 2, 255, 256, 257):
        folder = full_bundle(tmp_path / str(count), LEAVES[:count])
        assert run(folder, LOG.vkey).returncode == 0, count


def test_records_of_every_type_and_streams_shared_by_tenants_are_accepted(tmp_path):
    leaves = story().leaves
    for folder in (
        full_bundle(tmp_path / "full", leaves),
        *(tenant_bundle(tmp_path / t, leaves, t) for t in (ANNA, BRUNO)),
    ):
        assert run(folder, LOG.vkey).returncode == 0, folder


def flip(at: int) -> Change:
    """Flip a bit of one byte."""
    return lambda data: data[:at] + bytes([data[at] ^ 1]) + data[at:][1:]


def swap(old: str, new: str) -> Change:
    """Replace the first occurrence of a text."""
    return lambda data: data.replace(old.encode(), new.encode(), 1)


def lines(change: Callable[[list[bytes]], list[bytes]]) -> Change:
    """Change the list of lines."""
    return lambda data: b"".join(change(data.splitlines(keepends=True)))


def entries(change: Callable[[list[bytes]], list[bytes]]) -> Change:
    """Change the list of records of a tile."""
    return lambda data: encode_entries(change(decode_entries(data, 256)))


ENTRIES, HASHES, PROVEN, DISCLOSED = "tile/entries/000", "tile/0/000", "records.jsonl", "disclosures.jsonl"
CHANGES: dict[str, tuple[str, str, Change | None]] = {
    "a byte of the signature": ("full", "checkpoint", flip(-20)),
    "another size": ("full", "checkpoint", swap(f"\n{COUNT}\n", f"\n{COUNT - 1}\n")),
    "another origin": ("full", "checkpoint", swap("log.example", "log.invalid")),
    "a line without a signature": ("full", "checkpoint", lambda data: data + b"junk\n"),
    "a checkpoint without its last newline": ("full", "checkpoint", lambda data: data[:-1]),
    "no checkpoint": ("full", "checkpoint", None),
    "the type of a record": ("full", ENTRIES, swap("CredentialSet", "CredentialSat")),
    "the address in a record": ("full", ENTRIES, swap("192.0.2.1", "192.0.2.3")),
    "a record removed": ("full", ENTRIES, entries(lambda found: found[:5] + found[6:])),
    "a record twice": ("full", ENTRIES, entries(lambda found: [*found, found[-1]])),
    "two records swapped": ("full", ENTRIES, entries(lambda found: [found[1], found[0], *found[2:]])),
    "a tile of records cut": ("full", ENTRIES, lambda data: data[:-1]),
    "no tile of records": ("full", ENTRIES, None),
    "a byte of a tile": ("full", HASHES, flip(77)),
    "a byte of the last tile": ("full", f"tile/0/001.p/{COUNT - 256}", flip(3)),
    "a byte of the upper tile": ("full", "tile/1/000.p/1", flip(31)),
    "a longer tile": ("full", HASHES, lambda data: data + bytes(32)),
    "no upper tile": ("full", "tile/1/000.p/1", None),
    "a disclosed value": ("full", DISCLOSED, swap("person 1 ", "person 2 ")),
    "the position of a disclosure": ("full", DISCLOSED, swap('"position":1,', '"position":2,')),
    "a position with a fraction": ("full", DISCLOSED, swap('"position":1,', '"position":1.0,')),
    "the member of a disclosure": ("full", DISCLOSED, swap('"actor"', '"reason"')),
    "white space in a disclosure": ("full", DISCLOSED, swap('"actor"', ' "actor"')),
    "another spelling of an opening": ("full", DISCLOSED, swap('ODw"', 'ODx"')),
    "disclosures swapped": ("full", DISCLOSED, lines(lambda found: [found[1], found[0], *found[2:]])),
    "a disclosure twice": ("full", DISCLOSED, lines(lambda found: [found[0], *found])),
    "a disclosure cut": ("full", DISCLOSED, lambda data: data[:-1]),
    "no disclosures": ("full", DISCLOSED, None),
    "another format": ("one", "tenant.json", swap("/v1", "/v2")),
    "another tenant": ("one", "tenant.json", swap(ANNA, BRUNO)),
    "the size that the tenant's bundle names": ("one", "tenant.json", swap(str(COUNT), str(COUNT + 1))),
    "no description of the tenant's bundle": ("one", "tenant.json", None),
    "a byte of a tenant's record": ("one", PROVEN, swap("success", "failure")),
    "a byte of a proof": ("one", PROVEN, flip(-20)),
    "a proof with one hash too many": ("one", PROVEN, swap('"]}', f'","{"A" * 43}="]}}')),
    "a proof of another position": ("one", PROVEN, swap('"position":2,"proof"', '"position":4,"proof"')),
    "a tenant's record removed": ("one", PROVEN, lines(lambda found: found[1:])),
    "a tenant's records swapped": ("one", PROVEN, lines(lambda found: [found[1], found[0], *found[2:]])),
    "a tenant's record twice": ("one", PROVEN, lines(lambda found: [found[0], *found])),
    "a tenant's last line cut": ("one", PROVEN, lambda data: data[:-1]),
    "white space in a tenant's line": ("one", PROVEN, swap('{"leaf":', '{"leaf": ')),
    "a tenant's disclosed value": ("one", DISCLOSED, swap("person 2 ", "person 3 ")),
    "a disclosure about another tenant": ("one", DISCLOSED, swap('"position":2,', '"position":1,')),
}


@pytest.mark.parametrize(("kind", "name", "change"), CHANGES.values(), ids=CHANGES)
def test_changed_evidence_is_refused(bundles, tmp_path, kind, name, change):
    folder = Path(shutil.copytree(bundles / kind, tmp_path / "bundle"))
    before = (folder / name).read_bytes()
    if change is None:
        (folder / name).unlink()
    else:
        assert change(before) != before
        (folder / name).write_bytes(change(before))
    shown = run(folder, LOG.vkey)
    assert (shown.returncode, shown.stdout) == (1, "")
    assert shown.stderr.startswith("error  ")


SIGNED = {
    "a position left out": [*LEAVES[:5], *LEAVES[6:]],
    "a version left out": Records().credential("Set").credential("Set", version=3).leaves,
    "a record with white space": [*LEAVES[:5], LEAVES[5].replace(b":", b": ", 1), *LEAVES[6:]],
    "a record with a member too few": [*LEAVES[:5], LEAVES[5].replace(b'"causation_id":null,', b""), *LEAVES[6:]],
}


@pytest.mark.parametrize("leaves", SIGNED.values(), ids=SIGNED)
def test_what_no_log_can_hold_is_refused_though_it_is_signed(tmp_path, leaves):
    assert run(full_bundle(tmp_path / "bundle", leaves), LOG.vkey).returncode == 1


def test_the_key_of_another_log_is_refused(bundles):
    for other in ("log.example", "other.example"):
        shown = run(bundles / "full", LogSigner(generate_signing_key(other)).vkey)
        assert shown.returncode == 1
        assert shown.stderr.startswith("error  checkpoint: ")


@pytest.mark.parametrize("arguments", [[], ["bundle"], ["bundle", "no key"], ["bundle", LOG.vkey, "more"]])
def test_wrong_usage_is_answered_with_the_usage(arguments):
    shown = run(*arguments)
    assert shown.returncode == 2
    assert "verify_bundle.py BUNDLE_DIR VERIFIER_KEY" in shown.stderr
