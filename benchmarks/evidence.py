"""Evidence over a long log, in ratio to reading, hashing and decoding the same records and nothing else.

    python -m benchmarks.evidence [--records N] [--keep FOLDER]

Makes a bundle of records of many credentials and measures, in a process of its own, the bare loop, the verification,
and proofs at that size. The figures are of one run on one machine; the ratios are what counts.
"""

import argparse
import json
import multiprocessing
import random
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import sha256
from pathlib import Path
from uuid import UUID

from domain.audit.record import decode_record, spell
from domain.audit.request_events import Outcome
from domain.credentials.credential import stream_id
from domain.proofs.checkpoint import Checkpoint
from domain.proofs.merkle_tree import inclusion_proof, leaf_hash
from domain.proofs.signed_note import SignedNote
from domain.proofs.tiles import Tile, TileBuilder, TileHashes, decode_entries, tiles_of_level
from keyledger import quick_records
from keyledger.evidence import Decode, FullBundleWriter, verify_bundle
from keyledger.proofs.signing_keys import LogSigner, generate_signing_key
from scripts.terminal.output import Table, print_table

RECORDS = 1_000_000
RECORDS_OF_A_STREAM = 25
PROOFS = 500
SECONDS_GOAL, MEMORY_GOAL_MB, PROOF_GOAL_MS, TILES_GOAL = 60.0, 500.0, 5.0, 8
_BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Measured:
    """The duration of one step, its processor time, and the peak of its process."""

    seconds: float
    processor: float
    peak_mb: float

    def each(self, count: int) -> str:
        """Return the processor time for one of so many."""
        return f"{1e6 * self.processor / count:.1f} µs of processor time each"


def leaves(count: int) -> Iterator[bytes]:
    """Yield records, each a credential that is set, of as many streams as the count asks for."""
    chance = random.Random(1)  # noqa: S311  the same log on every run
    tenants = [str(UUID(int=chance.getrandbits(128), version=4)) for _ in range(count // RECORDS_OF_A_STREAM + 1)]
    versions = dict[str, int]()
    for position in range(1, count + 1):
        tenant = chance.choice(tenants)
        time_ = (_BEGIN + timedelta(milliseconds=position)).isoformat(timespec="microseconds")
        versions[tenant] = versions.get(tenant, 0) + 1
        yield spell(
            {
                "position": position,
                "stream": str(stream_id(tenant, "openai")),
                "version": versions[tenant],
                "type": "CredentialSet",
                "time": time_,
                "node_time": time_,
                "causation_id": None,
                "event": f"sha256:{position:064x}",
                "actor": "benchmark",
                "role": "sysadmin",
                "source": "api",
                "request_id": f"req-{position}",
                "command_id": str(UUID(int=position)),
                "client_address": "192.0.2.1",
                "reason": None,
                "outcome": Outcome.SUCCESS.value,
                "tenant_id": tenant,
                "provider": "openai",
                "masked_key": "...xyz9",
                "key_id": "k0123456789",
                "fingerprint": None,
                "details": {},
            }
        )


def prepared(folder: Path, count: int, signer: LogSigner) -> None:
    """Write the bundle and sign it."""
    builder = TileBuilder()
    for leaf in leaves(count):
        builder.complete([leaf_hash(leaf)])
    text = Checkpoint(signer.name, count, builder.root()).text
    FullBundleWriter(folder).write(leaves(count), SignedNote(text).signed_by(signer).render())


def bare_loop(folder: Path, count: int) -> None:
    """Read, hash and decode every record: what no verification can do without."""
    for tile in tiles_of_level(0, count):
        for entry in decode_entries((folder / tile.entries_path).read_bytes(), tile.width):
            sha256(b"\x00" + entry).digest()
            json.loads(entry)


def verification(folder: Path, vkey: str, decode: Decode) -> None:
    """Verify the whole bundle."""
    verdict = verify_bundle(folder, vkey, decode=decode)
    assert verdict.holds, verdict.report()


def measured(work: Callable[..., None], *arguments: object) -> Measured:
    """Run `work` in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measure, (work, arguments))


def proofs(folder: Path, count: int) -> tuple[float, float, int]:
    """Return the median and the 99th percentile of the time of a proof, in milliseconds, and the most tiles read."""
    cache = {tile: (folder / tile.path).read_bytes() for level in range(3) for tile in tiles_of_level(level, count)}
    most, times, chance = 0, list[float](), random.Random(2)  # noqa: S311

    def fetch(wanted: Sequence[Tile]) -> Sequence[bytes]:
        nonlocal most
        most = max(most, len(wanted))
        return [cache[tile] for tile in wanted]

    for _ in range(PROOFS):
        index = chance.randrange(count)
        start = time.perf_counter()
        inclusion_proof(index, count, TileHashes(count, fetch))
        times.append((time.perf_counter() - start) * 1000)
    return statistics.median(times), statistics.quantiles(times, n=100)[98], most


def run(folder: Path, count: int) -> None:
    """Measure and print."""
    signer = LogSigner(generate_signing_key("benchmark"))
    prepared(folder / "bundle", count, signer)
    bare = measured(partial(bare_loop, folder / "bundle", count))
    full = measured(partial(verification, folder / "bundle", signer.vkey, quick_records.decode_record))
    plain = measured(partial(verification, folder / "bundle", signer.vkey, decode_record))
    median, worst, tiles = proofs(folder / "bundle", count)
    rows = [
        ("bare loop", f"{bare.seconds:.1f} s, {bare.each(count)}", "", ""),
        ("verification with --plain", f"{plain.seconds:.1f} s, {plain.each(count)}", "", ""),
        (
            "verification",
            f"{full.seconds:.1f} s, {full.each(count)}",
            f"{SECONDS_GOAL:.0f} s",
            _held(full.seconds <= SECONDS_GOAL),
        ),
        ("in ratio to the bare loop", f"{full.seconds / bare.seconds:.1f}", "", ""),
        ("peak memory", f"{full.peak_mb:.0f} MB", f"{MEMORY_GOAL_MB:.0f} MB", _held(full.peak_mb <= MEMORY_GOAL_MB)),
        ("inclusion proof, median", f"{median:.2f} ms", "", ""),
        ("inclusion proof, p99", f"{worst:.2f} ms", f"{PROOF_GOAL_MS:.0f} ms", _held(worst <= PROOF_GOAL_MS)),
        ("tiles read for it, at most", f"{tiles}", f"{TILES_GOAL}", _held(tiles <= TILES_GOAL)),
    ]
    print_table(Table(("what", "result", "goal", "goal held"), rows, f"{count:,} records"))


def _measure(work: Callable[..., None], arguments: tuple[object, ...]) -> Measured:
    start, begun = time.perf_counter(), time.process_time()
    work(*arguments)
    seconds = time.perf_counter() - start
    return Measured(seconds, time.process_time() - begun, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def _held(holds: bool) -> str:
    return "yes" if holds else "NO"


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=RECORDS, help="how many records the log has")
    parser.add_argument("--keep", type=Path, help="a new folder that stays, with the bundle in it")
    arguments = parser.parse_args()
    if arguments.keep is not None:
        run(arguments.keep, arguments.records)
        return
    with tempfile.TemporaryDirectory() as folder:
        run(Path(folder), arguments.records)


if __name__ == "__main__":
    main()
