"""Exception classes of all packages: few, with one ending, each a different thing for a caller to do."""

import ast
from pathlib import Path

import keyledger
from tests.support.syntax import tree_of

ROOT = Path(keyledger.__file__).parents[1]
PACKAGES = ["domain", "projections", "api", "keyledger", "scripts"]
AT_MOST = 30


def exception_classes() -> set[str]:
    bases = {
        node.name: {ast.unparse(base).rpartition(".")[2] for base in node.bases}
        for package in PACKAGES
        for file in (ROOT / package).rglob("*.py")
        for node in ast.walk(tree_of(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
    }
    found: set[str] = set()
    while more := {name for name, of in bases.items() if any(map(_is_exception, of)) or of & found} - found:
        found |= more
    return found


def _is_exception(name: str) -> bool:
    """Say whether a base that is not ours, or is not known yet, is an exception class by its name."""
    return name.endswith(("Error", "Exception", "Warning")) or name in {"KeyboardInterrupt", "SystemExit"}


def test_every_exception_class_ends_in_error() -> None:
    assert [name for name in exception_classes() if not name.endswith("Error")] == []


def test_there_are_no_more_exception_classes_than_things_a_caller_can_do() -> None:
    found = exception_classes()
    assert "CredentialNotFoundError" in found, "a class of a class of the product is found, too"
    assert len(found) <= AT_MOST
