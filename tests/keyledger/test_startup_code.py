"""Code that runs before the program: named where no installed package brought it."""

import subprocess
import sys
import sysconfig
from pathlib import Path
from types import SimpleNamespace

import pytest

from keyledger import startup_code
from tests.scripts.process import running
from tests.support.places import REPOSITORY
from tests.support.service import DIRECT_MODELS, environment


@pytest.mark.parametrize("name", ["sitecustomize", "usercustomize"])
def test_a_module_that_python_imports_at_its_start_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / f"{name}.py").write_text("")
    program = "import sys; from keyledger.startup_code import foreign_modules; print(*foreign_modules())"
    given = {"PYTHONPATH": f"{tmp_path}:{REPOSITORY}"}
    shown = subprocess.run(
        [sys.executable, "-c", f"import {name}; {program}"], env=given, capture_output=True, text=True, check=True
    )
    assert shown.stdout.strip() == str(tmp_path / f"{name}.py")


def test_the_environment_of_the_tests_has_no_such_code() -> None:
    assert list(startup_code.foreign_modules()) == []
    assert list(startup_code.foreign_path_files()) == []


def test_a_module_of_the_vendor_may_be_a_link_to_a_file_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere, library = tmp_path / "etc" / "sitecustomize.py", tmp_path / "lib"
    for folder in (elsewhere.parent, library):
        folder.mkdir()
    elsewhere.write_text("")
    (library / elsewhere.name).symlink_to(elsewhere)
    monkeypatch.setitem(sys.modules, "sitecustomize", SimpleNamespace(__file__=str(library / elsewhere.name)))
    assert list(startup_code.foreign_modules()) == [library / elsewhere.name]
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(library))
    assert list(startup_code.foreign_modules()) == []


def test_a_path_file_that_no_package_lists_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("stray.pth", "listed.pth", "_virtualenv.pth"):
        (tmp_path / name).write_text("import os\n")
    (tmp_path / "one-1.dist-info").mkdir()
    (tmp_path / "one-1.dist-info" / "METADATA").write_text("Name: one\nVersion: 1\n")
    (tmp_path / "one-1.dist-info" / "RECORD").write_text("one/__init__.py,sha256=x,1\nlisted.pth,sha256=x,1\n")
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path))
    assert [file.name for file in startup_code.foreign_path_files()] == ["stray.pth"]


def test_a_start_warns_of_such_code(tmp_path: Path, database_url: str) -> None:
    (tmp_path / "sitecustomize.py").write_text("")
    given = environment(AI_MODELS_FILE=DIRECT_MODELS, DATABASE_URL=database_url)
    given["PYTHONPATH"] = f"{tmp_path}:{REPOSITORY}"
    with running(tmp_path, "serve", "--port", "0", "--workers", "1", env=given) as service:
        service.wait_for(r"warning: (\S+/sitecustomize\.py) ran at the start")
        service.wait_for(r"serving on (http://\S+)")
        assert service.terminate() == 0
