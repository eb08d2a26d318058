"""Sealing in a process of its own: the same result, nothing shown, and an end whatever becomes of either side."""

import multiprocessing
import os
import signal
from collections.abc import Callable
from multiprocessing import ProcessError
from pathlib import Path

import pytest

from domain.credentials.secret import Secret
from domain.errors import StoreUnavailableError
from domain.operations.encryption_keys import RotationCounts
from keyledger.encryption.reencryption import Pace
from keyledger.encryption.reencryption_process import GIVES_WAY, ReencryptionProcess
from keyledger.encryption.rotation import RotationProgress, Rotator
from tests.support.checker import check
from tests.support.rings import BOTH, NEW, fill, meta, now, rotate, tenants, under_keys
from tests.support.store import ENCRYPTION_KEY, OTHER_ENCRYPTION_KEY, Store, open_store

BATCH = 100
PACE = Pace(BATCH, 0.01)


def beside(
    store: Store, url: str = "", keys: tuple[Secret, Secret] = (OTHER_ENCRYPTION_KEY, ENCRYPTION_KEY)
) -> Rotator:
    primary, previous = keys
    return Rotator(store.pool, store.log, BOTH, now, ReencryptionProcess(url or store.url, primary, [previous], PACE))


def run(rotator: Rotator, watch: Callable[[RotationProgress], bool] = lambda progress: True) -> RotationProgress:
    by = meta()
    return rotator.run(rotator.begin(by), by, watch)


def sealing_process() -> int:
    (process,) = multiprocessing.active_children()
    assert process.pid is not None
    return process.pid


def shown(file: Path) -> bytes:
    """The content, or nothing where the system shows it to root only."""
    try:
        return file.read_bytes()
    except PermissionError:
        return b""


def open_files(process: Path) -> set[str]:
    if not os.access(process / "fd", os.R_OK):
        return set()
    return {str(one.readlink()) for one in (process / "fd").iterdir() if one.exists()}


def test_it_seals_what_this_process_would(database_url: str) -> None:
    fill(database_url, BATCH + 50)
    lost = tenants(1)[0]
    told: list[int] = []

    def watch(progress: RotationProgress) -> bool:
        told.append(progress.counts.done)
        return True

    with open_store(database_url, BOTH) as store:
        with store.superuser() as database:
            database.execute("UPDATE current_credentials SET endpoint = 'https://evil' WHERE tenant_id = %s", [lost])
        result = run(beside(store), watch)
        assert told[:3] == [0, BATCH, BATCH + 50]
        assert result.counts == RotationCounts(BATCH + 49, 0, 1)
        assert [(one.tenant_id, one.provider, one.reason) for one in result.unopened] == [(lost, "openai", "binding")]
        assert under_keys(store)[NEW.primary_id] == BATCH + 49
        assert multiprocessing.active_children() == []


def test_the_process_shows_no_key_and_no_password_and_gives_way(database_url: str) -> None:
    fill(database_url, 1)
    seen: dict[str, bytes] = {}

    def look(progress: RotationProgress) -> bool:
        if progress.counts.done:
            sealing = Path(f"/proc/{sealing_process()}")
            seen.update({name: shown(sealing / name) for name in ("cmdline", "environ", "stat")})
            seen["files"] = "\n".join(open_files(sealing) - open_files(Path("/proc/self"))).encode()
        return True

    with open_store(database_url, BOTH) as store:
        own = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        assert run(beside(store), look).counts.reencrypted == 1
    for key in (ENCRYPTION_KEY, OTHER_ENCRYPTION_KEY):
        assert all(key.reveal().encode() not in content for content in seen.values())
    assert database_url.encode() not in seen["cmdline"] + seen["environ"]
    assert all(line.startswith((b"/dev/", b"pipe:", b"socket:", b"anon_inode:")) for line in seen["files"].split())
    nice = seen["stat"].decode().rpartition(")")[2].split()[16]
    assert int(nice) == min(19, int(own[16]) + GIVES_WAY)


@pytest.mark.parametrize("batches", [0, 1], ids=["before its first batch", "after a batch"])
def test_a_process_that_is_killed_ends_the_rotation_and_the_next_goes_on(database_url: str, batches: int) -> None:
    fill(database_url, 3 * BATCH)
    killed: list[int] = []

    def kill(done: int) -> None:
        if done == batches * BATCH and not killed:
            killed.append(sealing_process())
            os.kill(killed[0], signal.SIGKILL)

    class Killed(ReencryptionProcess):
        def _order(self, by: object) -> bytes:
            if batches == 0:
                kill(0)
            return super()._order(by)  # type: ignore[arg-type]

    def watch(progress: RotationProgress) -> bool:
        if batches:
            kill(progress.counts.done)
        return True

    with open_store(database_url, BOTH) as store:
        sealing = Killed(store.url, OTHER_ENCRYPTION_KEY, [ENCRYPTION_KEY], PACE)
        with pytest.raises(ProcessError):
            run(Rotator(store.pool, store.log, BOTH, now, sealing), watch)
        assert multiprocessing.active_children() == []
        left = 3 * BATCH - under_keys(store).get(NEW.primary_id, 0)
        assert left == (3 - batches) * BATCH
        assert run(beside(store)).counts == RotationCounts(left, 0, 0)
        check(store)


def test_a_rotation_that_is_told_to_stop_ends_the_process_after_its_batch(database_url: str) -> None:
    fill(database_url, 3 * BATCH)
    with open_store(database_url, BOTH) as store:
        stopped = run(beside(store), lambda progress: progress.counts.done < BATCH)
        assert stopped.counts == RotationCounts(BATCH, 0, 0)
        assert multiprocessing.active_children() == []
        assert under_keys(store)[NEW.primary_id] == BATCH
        rotate(store)
        assert under_keys(store) == {NEW.primary_id: 3 * BATCH}


def test_a_database_that_does_not_answer_the_process_is_an_outage(database_url: str) -> None:
    fill(database_url, 1)
    with open_store(database_url, BOTH) as store, pytest.raises(StoreUnavailableError):
        run(beside(store, "host=127.0.0.1 port=1 dbname=none password=secret"))


def test_a_fault_of_the_process_is_told_by_its_type_alone(database_url: str, capfd: pytest.CaptureFixture[str]) -> None:
    fill(database_url, 1)
    broken = Secret("not-a-key-but-secret")
    with open_store(database_url, BOTH) as store, pytest.raises(ProcessError, match=r"^ValueError$"):
        run(beside(store, keys=(broken, ENCRYPTION_KEY)))
    assert "".join(capfd.readouterr()) == ""


def test_what_seals_in_a_process_shows_no_secret() -> None:
    sealing = ReencryptionProcess("password=secret-0123456789", OTHER_ENCRYPTION_KEY, [ENCRYPTION_KEY])
    assert "secret-0123456789" not in repr(sealing)
    assert OTHER_ENCRYPTION_KEY.reveal() not in repr(sealing)
