"""Modules that take a second to load, loaded when a test first uses them and not in every worker that collects it."""

from importlib import import_module
from typing import Any


class Lazily:
    """Stands for a module, which is loaded when one of its members is first asked for.

    The modules of `importlib.util.LazyLoader` load as soon as anything looks at them, as pytest does with each name in
    a module of tests: it asks for private members, such as the name of a mock.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, member: str) -> Any:
        if member.startswith("_"):
            raise AttributeError(member)
        return getattr(import_module(self._name), member)
