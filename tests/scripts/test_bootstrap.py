"""A clone installs the same checked packages everywhere, and says so when it cannot."""

import ast
import os
import re
import subprocess
import sys
import sysconfig
from importlib.metadata import version
from pathlib import Path

import pytest

from scripts import bootstrap

ROOT = Path(bootstrap.__file__).parents[1]
LOCKS = ["requirements.lock", "requirements-dev.lock", "requirements/uv.txt"]
REQUIREMENT = re.compile(r"^(?P<name>[a-z0-9-]+)(\[[a-z,]+\])?==(?P<version>\S+)( ; .+)? \\$")
HASH = re.compile(r"^    --hash=sha256:[0-9a-f]{64}( \\)?$")


def locked(lock: str) -> dict[str, str]:
    found = [REQUIREMENT.match(line) for line in (ROOT / lock).read_text().splitlines()]
    return {match["name"]: match["version"] for match in found if match}


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_file_has_nothing_but_exact_versions_each_with_its_hashes(lock):
    lines = (ROOT / lock).read_text().splitlines()
    assert [line for line in lines if not REQUIREMENT.match(line) and not HASH.match(line)] == []
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        assert not REQUIREMENT.match(line) or HASH.match(following), f"{line} has no hash"


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_file_names_no_place_to_download_from(lock):
    assert not re.search(r"://|--index|--extra-index|--find-links|--trusted-host| @ ", (ROOT / lock).read_text())


def test_what_runs_is_what_was_tested():
    assert locked("requirements.lock").items() <= locked("requirements-dev.lock").items()


@pytest.mark.parametrize("lock", LOCKS[:2])
def test_litellm_is_the_examined_release(lock):
    assert locked(lock)["litellm"] == "1.99.4"


def test_the_installed_packages_are_the_locked_ones():
    wrong = {}
    for name, pinned in locked("requirements.lock").items():
        try:
            if version(name) != pinned:
                wrong[name] = version(name)
        except ModuleNotFoundError:
            continue  # for another system or Python
    assert wrong == {}


def test_nothing_runs_at_the_start_of_every_interpreter():
    # How the hijacked litellm releases stole secrets: a .pth file runs code in every Python process, imported or not.
    packages = Path(sysconfig.get_path("purelib"))
    assert {file.name for file in packages.glob("*.pth")} <= {
        "_keyledger.pth",
        "_virtualenv.pth",
        "a1_coverage.pth",  # for development only; does nothing unless COVERAGE_PROCESS_START is set
        "distutils-precedence.pth",
    }
    assert "\ncoverage==" not in (ROOT / "requirements.lock").read_text()
    assert [name for name in ("sitecustomize.py", "usercustomize.py") if (packages / name).exists()] == []
    ours = (packages / "_keyledger.pth").read_text().split()
    assert ours == [str(ROOT)], "one path and no code"


@pytest.mark.parametrize("too_old", [(3, 6), (3, 8), (3, 10)])
def test_an_old_python_is_refused_in_one_line_that_names_the_way_out(too_old, tmp_path):
    source = (ROOT / "scripts" / "bootstrap.py").read_text()
    ast.parse(source, feature_version=too_old)
    # The same file, run by a Python that says it is an old one.
    (tmp_path / "run.py").write_text(
        f"import sys\nsys.version_info = {(*too_old, 0)}\nsys.argv = ['bootstrap.py', 'run']\nexec({source!r})\n"
    )
    refused = subprocess.run([sys.executable, tmp_path / "run.py"], capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert refused.stdout == ""
    assert refused.stderr == (
        f"KeyLedger needs Python 3.11 or later and this is 3.{too_old[1]}; try: make PYTHON=python3.12 run\n"
    )


def test_bootstrap_needs_nothing_installed():
    tree = ast.parse((ROOT / "scripts" / "bootstrap.py").read_text())
    imported = {
        name.partition(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert imported <= sys.stdlib_module_names


def test_a_mirror_that_only_pip_knows_is_told_to_uv(monkeypatch):
    for name in [name for name in os.environ if name.startswith("UV_")] + ["SSL_CERT_FILE"]:
        monkeypatch.delenv(name, raising=False)
    listed = "\n".join(
        [
            ":env:.find-links='/wheels /more'",
            "global.cert='/ca.pem'",
            "global.constraint='/constraints.txt'",
            "global.index-url='mirror://global'",
            "install.index-url='mirror://install'",
        ]
    )
    monkeypatch.setattr(bootstrap, "_has", lambda module: True)
    monkeypatch.setattr(subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, 0, listed))
    environment = bootstrap._uv_environment()
    assert environment["UV_DEFAULT_INDEX"] == "mirror://install"
    assert environment["UV_FIND_LINKS"] == "/wheels,/more"
    assert environment["SSL_CERT_FILE"] == "/ca.pem"
    assert environment["UV_PYTHON_DOWNLOADS"] == "never"


def test_uvs_own_configuration_wins_over_pips(monkeypatch):
    monkeypatch.setenv("UV_DEFAULT_INDEX", "mirror://own")
    monkeypatch.setattr(bootstrap, "_pip_configuration", lambda: {"index-url": "mirror://pip", "find-links": "/wheels"})
    environment = bootstrap._uv_environment()
    assert environment["UV_DEFAULT_INDEX"] == "mirror://own"
    assert "/wheels" not in environment.get("UV_FIND_LINKS", "")


NAMED = [
    pytest.param(f"echo uv {locked('requirements/uv.txt')['uv']} '(a build)'", True, id="the pinned release"),
    pytest.param("echo uv 0.0.1", False, id="another release"),
    pytest.param(f"echo not-uv {locked('requirements/uv.txt')['uv']}", False, id="another program"),
    pytest.param("echo", False, id="one that says nothing"),
    pytest.param("exit 1", False, id="one that fails"),
    pytest.param(None, False, id="one that does not exist"),
]


@pytest.mark.parametrize(("says", "used"), NAMED)
def test_a_uv_that_is_named_is_used_only_if_it_is_the_pinned_release(monkeypatch, tmp_path, capsys, says, used):
    named = tmp_path / "uv"
    if says is not None:
        named.write_text(f"#!/bin/sh\n{says}\n")
        named.chmod(0o755)
    monkeypatch.setenv("UV", str(named))
    monkeypatch.setattr(bootstrap, "_pinned_uv", lambda: Path("/pinned/uv"))
    assert bootstrap._uv() == (str(named) if used else "/pinned/uv")
    said = capsys.readouterr().err
    assert not said if used else f"UV={named} is" in said and "PIP_FIND_LINKS" in said


def test_a_uv_on_the_path_installs_nothing(monkeypatch, tmp_path):
    pinned = tmp_path / "tools" / "bin" / "uv"
    stray = tmp_path / "stray" / "uv"
    stray.parent.mkdir()
    stray.touch(mode=0o755)
    fetched = []

    def fetch(command, *_):
        fetched.append(command)
        pinned.parent.mkdir(parents=True)

    monkeypatch.setattr(bootstrap, "_TOOLS", tmp_path / "tools")
    monkeypatch.setattr(bootstrap, "_has", lambda module: module == "pip")
    monkeypatch.setattr(bootstrap, "_run", fetch)
    monkeypatch.setenv("PATH", str(stray.parent))
    monkeypatch.delenv("UV", raising=False)
    assert bootstrap._uv() == str(pinned)
    (command,) = fetched
    assert command[-3:] == ["--require-hashes", "--requirement", ROOT / "requirements" / "uv.txt"]


def test_without_pip_and_venv_the_package_to_install_is_named(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(bootstrap, "_has", lambda module: False)
    monkeypatch.setattr(bootstrap, "_TOOLS", tmp_path / "tools")
    monkeypatch.setattr(bootstrap, "_VENV", tmp_path / "venv")
    monkeypatch.delenv("UV", raising=False)
    monkeypatch.setenv("PATH", "")
    monkeypatch.chdir(ROOT)
    assert bootstrap.main(["run"]) == 1
    assert "apt install python3-venv" in capsys.readouterr().err


def test_a_system_without_a_build_of_the_database_is_refused_before_anything_is_installed(monkeypatch, capsys):
    monkeypatch.setattr("sysconfig.get_config_var", lambda name: "cpython-312-x86_64-linux-musl")
    monkeypatch.setattr(bootstrap, "_run", lambda *_: pytest.fail("something was run"))
    monkeypatch.chdir(ROOT)
    assert bootstrap.main(["run"]) == 1
    assert "glibc" in capsys.readouterr().err
