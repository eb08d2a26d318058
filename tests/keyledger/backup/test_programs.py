"""The server's programs reach the account that runs them, by a copy that only root could have made."""

import os
from pathlib import Path

import pytest

from domain.errors import StoreUnavailableError
from keyledger.embedded_postgres import binaries

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root hands the programs to another account")


@pytest.fixture
def area(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stands for the system's temporary area."""
    area = tmp_path / "area"
    area.mkdir()
    monkeypatch.setattr(binaries, "_temporary_area", lambda: area)
    return area


@pytest.fixture
def package(tmp_path: Path) -> Path:
    package = tmp_path / "venv" / "embedded_postgres"
    for name in ("pginstall/bin/postgres", "pginstall/include/big.h", "../embedded_postgres.libs/libpq.so"):
        file = package / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)
    return package


def test_programs_and_their_libraries_are_copied_side_by_side_and_headers_are_not(area, package):
    copy = binaries._copy_within_reach(package)
    assert (copy / "pginstall" / "bin" / "postgres").read_text() == "pginstall/bin/postgres"
    assert (copy.parent / "embedded_postgres.libs" / "libpq.so").exists()
    assert not (copy / "pginstall" / "include").exists()
    assert all(folder.stat().st_mode & 0o777 == 0o755 for folder in (copy, copy.parent))


def test_a_copy_is_made_once(area, package):
    first = binaries._copy_within_reach(package)
    assert binaries._copy_within_reach(package) == first
    assert len(list(area.iterdir())) == 1


def test_a_copy_that_lost_a_file_is_made_anew(area, package):
    copy = binaries._copy_within_reach(package)
    (copy / "pginstall" / "bin" / "postgres").unlink()
    again = binaries._copy_within_reach(package)
    assert again == copy
    assert (again / "pginstall" / "bin" / "postgres").exists()


@pytest.mark.parametrize("trap", ["of another user", "writable by others", "a link"])
def test_a_folder_that_somebody_else_may_have_filled_is_neither_used_nor_removed(area, package, trap, tmp_path):
    place = binaries._copy_within_reach(package).parent
    if trap == "of another user":
        os.chown(place, 65534, -1)
    elif trap == "writable by others":
        place.chmod(0o777)
    else:
        place.rename(tmp_path / "elsewhere")
        place.symlink_to(tmp_path / "elsewhere")
    copy = binaries._copy_within_reach(package)
    assert copy.parent != place
    assert (copy / "pginstall" / "bin" / "postgres").exists()
    assert place.exists()


def test_a_package_anybody_can_enter_is_recognised(tmp_path):
    closed = tmp_path / "closed"
    (closed / "open").mkdir(parents=True)
    closed.chmod(0o700)
    assert not binaries._open_to_all(closed / "open")
    assert binaries._open_to_all(Path("/usr"))


def test_a_temporary_area_only_we_can_enter_is_passed_over(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert binaries._temporary_area() == Path("/tmp").resolve()


def test_a_full_disk_is_reported_and_leaves_nothing(area, package, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copytree", full)
    with pytest.raises(StoreUnavailableError, match="No space left"):
        binaries._copy_within_reach(package)
    assert list(area.iterdir()) == []
