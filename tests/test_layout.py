"""The packages are ours, wherever they are imported from, and imports point the way the design says."""

import ast
import subprocess
import sys
import sysconfig
from importlib import import_module
from importlib.metadata import distribution, packages_distributions
from pathlib import Path
from statistics import median

import pytest

import keyledger
from domain.credentials.key_shapes import holds_key
from tests.support.syntax import tree_of

ROOT = Path(keyledger.__file__).parents[1]
PACKAGES = ["domain", "projections", "api", "keyledger", "scripts"]
FUNCTION_MAX, MODULE_MAX, MODULE_MEDIAN_MAX = 45, 300, 100
"""Lines, with blank lines and docstrings."""


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_is_loaded_from_beside_keyledger(package):
    assert Path(str(import_module(package).__file__)).parent == ROOT / package


@pytest.mark.parametrize("package", PACKAGES)
def test_no_other_distribution_owns_the_name(package):
    assert packages_distributions().get(package, ["keyledger"]) == ["keyledger"]


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_carries_its_types_and_says_what_it_is(package):
    assert (ROOT / package / "py.typed").is_file()
    assert import_module(package).__doc__


def test_the_domain_loads_nothing_but_the_standard_library():
    # Without site-packages (-S) an import of anything else fails; our other packages would show in what was loaded.
    code = (
        "import importlib, pathlib, sys; sys.path.insert(0, '.');"
        "modules = ['.'.join(file.with_suffix('').parts) for file in pathlib.Path('domain').rglob('*.py')];"
        "[importlib.import_module(module) for module in modules];"
        "print(*{name.partition('.')[0] for name in sys.modules} - sys.stdlib_module_names - {'__main__'})"
    )
    loaded = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert loaded.stdout.split() == ["domain"]


def test_the_command_starts_from_any_directory(tmp_path):
    command = Path(sysconfig.get_path("scripts")) / "keyledger"
    shown = subprocess.run([command, "--help"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stderr
    assert "Usage" in shown.stdout


def test_the_console_script_is_the_only_one():
    assert [(entry.name, entry.value) for entry in distribution("keyledger").entry_points] == [
        ("keyledger", "scripts.main:main")
    ]


def test_no_text_of_the_program_is_masked_by_its_own_guard():
    texts = [
        node.value
        for package in PACKAGES
        for file in (ROOT / package).rglob("*.py")
        for node in ast.walk(tree_of(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    assert [text for text in texts if holds_key(text)] == []


def _modules() -> dict[str, str]:
    """The text of every module of the packages, by its path."""
    files = sorted(file for package in PACKAGES for file in (ROOT / package).rglob("*.py"))
    return {str(file.relative_to(ROOT)): file.read_text(encoding="utf-8") for file in files}


def test_no_function_is_longer_than_a_screen():
    lengths = {
        f"{module}::{node.name}": node.end_lineno - node.lineno + 1
        for module, text in _modules().items()
        for node in ast.walk(tree_of(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None
    }
    assert {name: length for name, length in lengths.items() if length > FUNCTION_MAX} == {}


def test_modules_are_short():
    lengths = {module: len(text.splitlines()) for module, text in _modules().items()}
    assert {module: length for module, length in lengths.items() if length > MODULE_MAX} == {}
    assert median(lengths.values()) <= MODULE_MEDIAN_MAX


def test_imports_point_the_way_the_design_says():
    linter = Path(sysconfig.get_path("scripts")) / "lint-imports"
    result = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout
