"""The command line under test: in this process for speed, in a folder and an environment of its own."""

import io
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from scripts.main import main
from tests.support.service import ADMIN_KEY, Client

KEPT = frozenset({"PATH", "HOME", "LANG", "TMPDIR"})


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


Cli = Callable[..., Ended]
Ask = Callable[..., Ended]


@pytest.fixture
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty folder as the present one, and no variable that could be a setting."""
    for name in set(os.environ) - KEPT:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def cli(bare_environment: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Run a command: `cli("credentials", "list", ..., stdin="...", env={...})`."""

    def run(*arguments: str, stdin: str = "", env: dict[str, str] | None = None) -> Ended:
        with monkeypatch.context() as patch:
            for name, value in (env or {}).items():
                patch.setenv(name, value)
            patch.setattr(sys, "stdin", io.StringIO(stdin))
            capsys.readouterr()
            with pytest.raises(SystemExit) as ended:
                main(arguments)
        said = capsys.readouterr()
        return Ended(int(ended.value.code or 0), said.out, said.err)

    return run


@pytest.fixture
def ask(cli: Cli, client: Client) -> Ask:
    """Run a command as an auditor of the service that the module's `client` talks to."""
    return asking(cli, client)


def asking(cli: Cli, client: Client) -> Ask:
    """Return what runs a command as an auditor of the service that a client talks to."""
    env = {"KEYLEDGER_URL": str(client.http.base_url), "KEYLEDGER_API_KEY": ADMIN_KEY}
    return lambda *arguments: cli(*arguments, env=env)
