"""Reads an operator's YAML file node by node, so that every error names its line.

Promises: nothing in the file is executed or turned into an object; errors are collected in `errors` and repeat names,
but no values.
Refuses: files that are not YAML or not UTF-8, API keys in texts, and members written twice, of which YAML would use the
last.
"""

from dataclasses import dataclass, field
from pathlib import Path

import yaml

from domain.credentials.key_shapes import holds_key, masked
from keyledger.settings.errors import SettingsError

_TAG = "tag:yaml.org,2002:"
_NULL, _STR, _BOOL, _INT, _MERGE = (f"{_TAG}{kind}" for kind in ("null", "str", "bool", "int", "merge"))


@dataclass(slots=True)
class Document:
    """One file. root: its content, None for an empty file. errors: in the order of the file."""

    source: str
    root: yaml.Node | None
    errors: list[str] = field(default_factory=list)

    def error(self, node: yaml.Node | None, text: str) -> None:
        """Record an error at a node; None stands for the beginning of the file."""
        self.errors.append(f"{line_of(node)}: {masked(text)}")  # a name in it may be a key in the wrong place

    def members(self, node: yaml.MappingNode) -> dict[str, yaml.Node]:
        """Return a mapping's members by name. Merged ones (`<<`) count where the mapping does not have them itself."""
        members: dict[str, yaml.Node] = {}
        merged: dict[str, yaml.Node] = {}
        for key, value in node.value:
            if key.tag == _MERGE:
                merged = {**self._merged(value), **merged}
                continue
            name = key.value if isinstance(key, yaml.ScalarNode) else ""
            if name in members:
                self.error(key, f"'{name}' is written twice")
            members[name] = value
        return {**merged, **members}

    def _merged(self, node: yaml.Node) -> dict[str, yaml.Node]:
        """Return the members of one merged mapping or of several; of several the first wins."""
        if isinstance(node, yaml.MappingNode):
            return self.members(node)
        members: dict[str, yaml.Node] = {}
        for one in reversed(node.value if isinstance(node, yaml.SequenceNode) else []):
            members |= self.members(one) if isinstance(one, yaml.MappingNode) else {}
        return members

    def entries(self, node: yaml.Node, what: str) -> list[yaml.Node]:
        """Return the entries of a list, which may be empty or missing. what: its name in an error."""
        if node.tag == _NULL:
            return []
        if not isinstance(node, yaml.SequenceNode):
            self.error(node, f"{what} must be a list")
            return []
        return list(node.value)

    def text(self, name: str, members: dict[str, yaml.Node], entry: yaml.Node, *, required: bool = False) -> str | None:
        """Return the text of a member, or None if it is missing or not a text. entry: the entry that it belongs to."""
        node = members.get(name)
        if node is None or node.tag == _NULL:
            if required:
                self.error(entry, f"{name} is missing")
            return None
        return self.plain_text(node, name)

    def plain_text(self, node: yaml.Node, name: str) -> str | None:
        """Return the text of a node, or None if it is not a text. name: its name in an error."""
        if not isinstance(node, yaml.ScalarNode) or node.tag != _STR or not node.value.strip():
            self.error(node, f"{name} must be a text; put it in quotes")
            return None
        if holds_key(node.value):
            self.error(node, f"{name} must not hold an API key: it is shown in clear")
            return None
        return str(node.value)

    def switch(self, name: str, members: dict[str, yaml.Node]) -> bool:
        """Return a boolean member, False if it is missing or not boolean."""
        node = members.get(name)
        if node is None or node.tag == _NULL:
            return False
        if node.tag != _BOOL:
            self.error(node, f"{name} must be true or false")
            return False
        return bool(yaml.SafeLoader.bool_values[str(node.value).lower()])

    def number(self, name: str, members: dict[str, yaml.Node], default: int) -> int:
        """Return a whole number, or `default` if the member is missing or not a whole number."""
        node = members.get(name)
        if node is None or node.tag == _NULL:
            return default
        if node.tag != _INT or not str(node.value).isdigit():
            self.error(node, f"{name} must be a whole number")
            return default
        return int(str(node.value))

    def close(self) -> None:
        """Raise SettingsError if there are errors."""
        if self.errors:
            raise SettingsError(tuple(self.errors), self.source)


def read_document(path: Path) -> Document:
    """Read a file. Raises SettingsError."""
    try:
        return Document(path.name, yaml.compose(path.read_text(encoding="utf-8-sig"), Loader=yaml.SafeLoader))
    except OSError as error:
        raise SettingsError((f"cannot be read ({error.strerror or type(error).__name__})",), path.name) from None
    except UnicodeDecodeError:
        raise SettingsError(("is not UTF-8 text",), path.name) from None
    except (yaml.YAMLError, RecursionError) as error:
        raise SettingsError((_yaml_error(error),), path.name) from None


def line_of(node: yaml.Node | None) -> str:
    """Return the line where a node begins, counted from 1."""
    return f"line {node.start_mark.line + 1 if node is not None else 1}"


def _yaml_error(error: Exception) -> str:
    mark = error.problem_mark if isinstance(error, yaml.MarkedYAMLError) else None
    problem = error.problem if isinstance(error, yaml.MarkedYAMLError) else None
    line = f"line {mark.line + 1}: " if mark is not None else ""
    return f"{line}is not YAML ({masked(problem or 'unreadable characters')})"
