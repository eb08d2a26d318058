"""A command changes settings in `.env` as carefully as a person would."""

import os
from pathlib import Path

import pytest

from keyledger.settings.errors import SettingsError
from keyledger.settings.settings import load
from keyledger.settings.settings_file import change_settings_file, changed_settings
from keyledger.start_error import StartError

TEXT = "# ours\nLOG_LEVEL=info\n\nexport DATA_DIR='a b'  # kept\nGLOBAL_FALLBACK=deny\n"


@pytest.mark.parametrize(
    ("text", "changes", "expected"),
    [
        pytest.param(TEXT, {"LOG_LEVEL": "debug"}, TEXT.replace("info", "debug"), id="in its line"),
        pytest.param(TEXT, {"LOG_FORMAT": "json"}, f"{TEXT}LOG_FORMAT=json\n", id="new, at the end"),
        pytest.param("A=1", {"B": "2"}, "A=1\nB=2\n", id="after a last line without an end"),
        pytest.param("", {"B": "2"}, "B=2\n", id="in an empty file"),
        pytest.param(TEXT, {"LOG_LEVEL": None}, TEXT.replace("LOG_LEVEL=info\n", ""), id="taken out"),
        pytest.param(TEXT, {"NOT_THERE": None}, TEXT, id="taken out although not there"),
        pytest.param("A=1\r\nB=2\r\n", {"A": "3"}, "A=3\r\nB=2\r\n", id="line ends of another system"),
        pytest.param("export A=1\n", {"A": "3"}, "export A=3\n", id="exported"),
        pytest.param("#A=1\nAA=1\nA_FILE=x\n", {"A": None}, "#A=1\nAA=1\nA_FILE=x\n", id="not those that look alike"),
    ],
)
def test_only_the_lines_of_the_settings_change(text: str, changes: dict[str, str | None], expected: str) -> None:
    assert changed_settings(text, changes) == expected


@pytest.mark.parametrize(
    ("text", "value"),
    [pytest.param("A=1\nA=2\n", "3", id="set twice"), pytest.param("A=1\n", "a b'c", id="a value to be quoted")],
)
def test_what_cannot_be_done_surely_is_refused(text: str, value: str) -> None:
    with pytest.raises(StartError, match="A"):
        changed_settings(text, {"A": value})


def test_the_file_keeps_its_mode_and_stays_a_link(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / ".env"
    real.write_text(TEXT)
    real.chmod(0o640)
    link.symlink_to(real)
    change_settings_file(link, {}, {"LOG_LEVEL": "debug"})
    assert link.is_symlink()
    assert real.stat().st_mode & 0o777 == 0o640
    assert load({}, link).log_level == "debug"
    assert sorted(path.name for path in tmp_path.iterdir()) == [".env", "real"]


def test_line_ends_of_another_system_stay_in_the_file(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_bytes(b"LOG_LEVEL=info\r\n# ours\r\n")
    change_settings_file(file, {}, {"LOG_LEVEL": "debug"})
    assert file.read_bytes() == b"LOG_LEVEL=debug\r\n# ours\r\n"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file away")
def test_the_file_stays_that_of_the_account_which_the_service_runs_as(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("LOG_LEVEL=info\n")
    os.chown(file, 12345, 54321)
    change_settings_file(file, {}, {"LOG_LEVEL": "debug"})
    assert (file.stat().st_uid, file.stat().st_gid) == (12345, 54321)


def test_a_result_that_a_start_would_refuse_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text(TEXT)
    with pytest.raises(SettingsError, match="LOG_LEVEL"):
        change_settings_file(file, {}, {"LOG_LEVEL": "loud"})
    assert file.read_text() == TEXT
    assert [path.name for path in tmp_path.iterdir()] == [".env"]


def test_a_file_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(StartError):
        change_settings_file(tmp_path / ".env", {}, {"LOG_LEVEL": "debug"})
    assert list(tmp_path.iterdir()) == []
