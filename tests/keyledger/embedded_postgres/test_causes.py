"""An error names what keeps the server from starting, with the remedy, not the last words of another program."""

import errno
import os
import platform
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from domain.errors import StoreUnavailableError
from keyledger.embedded_postgres import EmbeddedPostgres
from keyledger.embedded_postgres.binaries import programs_for
from keyledger.embedded_postgres.causes import error_of, errors_named
from tests.support.mounts import said_by_a_start, why_no_mounts

Start = Callable[[], EmbeddedPostgres]

_LAST_WORDS = "PANIC:  cannot abort transaction 1, it was already committed\nAborted\nchild process exited\n"
SAID = {
    "tiny /dev/shm": (
        f'FATAL:  could not resize shared memory segment "/P.1" to 9 bytes: No space left on device\n{_LAST_WORDS}',
        "the shared memory in /dev/shm is too small: give it 64 MB",
    ),
    "full disk": (
        f'FATAL:  could not extend file "base/1/2691": No space left on device\n{_LAST_WORDS}',
        "the disk is full: free space",
    ),
    "quota": ("FATAL:  could not write: Disk quota exceeded", "the disk quota is used up: free space"),
    "read-only": ("FATAL:  could not open file: Read-only file system", "the disk is read-only: make"),
    "broken disk": (
        'PANIC:  could not fsync file "pg_wal/1": Input/output error',
        "the disk reports errors: replace it",
    ),
    "little memory": (
        "FATAL:  could not map anonymous shared memory: Cannot allocate memory",
        "too little memory: leave",
    ),
    "orphans": ("FATAL:  pre-existing shared memory block (key 1, ID 2) is still in use", "open: end every process"),
    "wrong owner": ('FATAL:  data directory "x" has wrong ownership', "owns its files: start KeyLedger as the owner"),
    "damaged": (
        "PANIC:  could not locate a valid checkpoint record at 0/1",
        "the cluster is damaged: restore a backup",
    ),
}


@pytest.mark.parametrize(("said", "named"), SAID.values(), ids=SAID)
def test_a_known_cause_is_named_with_its_remedy_in_one_sentence(said: str, named: str, tmp_path: Path) -> None:
    error = error_of("PostgreSQL does not start", said.encode(), tmp_path)
    assert named in error.detail
    assert "\n" not in error.detail
    assert "PANIC" not in error.detail
    assert error.brief
    assert "/tmp" not in error.brief


def test_an_unknown_cause_is_passed_on_as_the_last_lines(tmp_path: Path) -> None:
    error = error_of("PostgreSQL does not start", b"a\nb\nc\nFATAL:  something new\nmore\n", tmp_path)
    assert error.detail == "PostgreSQL does not start: b / c / FATAL:  something new / more"
    assert error.brief == ""


@pytest.mark.parametrize(
    ("number", "named"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EROFS, "the disk is read-only"),
        (errno.EACCES, "set DATA_DIR to a directory of your own"),
        (errno.EISDIR, "Is a directory"),
    ],
    ids=errno.errorcode.get,
)
def test_an_error_of_the_system_names_the_cause(number: int, named: str, tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailableError, match=named), errors_named(tmp_path):
        raise OSError(number, os.strerror(number), str(tmp_path))


@pytest.mark.skipif(why_no_mounts() != "", reason=why_no_mounts())
@pytest.mark.parametrize(
    ("mount", "place", "named"),
    [
        ("size=64k", "/dev/shm", "shared memory in /dev/shm is too small"),
        ("size=1m", "/dev/shm", "shared memory in /dev/shm is too small"),
        ("size=1m", "DATA_DIR", "the disk is full"),
        ("size=20m", "DATA_DIR", "the disk is full"),
        ("ro", "DATA_DIR", "the disk is read-only"),
    ],
)
def test_a_first_start_names_what_it_lacks(mount: str, place: str, named: str, tmp_path: Path) -> None:
    said = said_by_a_start(tmp_path / "data", tmp_path if place == "DATA_DIR" else Path(place), mount)
    assert said.startswith("StoreUnavailableError")
    assert named in said


@pytest.mark.skipif(platform.system() != "Linux", reason="reads /proc")
def test_a_server_that_keyledger_did_not_start_is_named_and_left_alone(start: Start, data_dir: Path) -> None:
    start().leave()
    folder = (data_dir / "postgres").resolve()
    programs = programs_for(folder)
    account = programs.account
    foreign = subprocess.Popen(
        [programs.folder / "postgres", "-D", "/proc/self/cwd", "-c", "unix_socket_directories="],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        user=None if account is None else account.uid,
        group=None if account is None else account.gid,
        extra_groups=None if account is None else [],
    )
    assert foreign.stdout is not None
    with foreign:
        try:
            while "ready to accept" not in (said := foreign.stdout.readline()):
                assert said
            with pytest.raises(StoreUnavailableError, match=f"process {foreign.pid}, a server .* stop that server"):
                start()
            assert (folder / "postmaster.pid").read_text().splitlines()[0] == str(foreign.pid)
            assert foreign.poll() is None
        finally:
            foreign.terminate()
