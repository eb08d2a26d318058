"""The commands of the documents run as written, in a folder of their own, in the order they stand there."""

import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.postgres import programs

REPOSITORY = Path(__file__).parents[2]
_BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks(document: str, heading: str) -> list[str]:
    """The shell blocks of one section."""
    text = (REPOSITORY / document).read_text(encoding="utf-8")
    section = text.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    return _BLOCK.findall(section)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / ".venv").symlink_to(REPOSITORY / ".venv")
    (tmp_path / "ai_models.yml").symlink_to(REPOSITORY / "ai_models.yml")
    return tmp_path


def environment() -> dict[str, str]:
    kept = ("PATH", "HOME", "TMPDIR", "LANG")
    return {name: os.environ[name] for name in kept if name in os.environ}


def run(script: str, folder: Path) -> str:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def served(folder: Path) -> Iterator[int]:
    """What the first two blocks of the README do, the second in another terminal, on a free port."""
    configure, serve, *_ = blocks("README.md", "A service of your own")
    assert "ENCRYPTION_KEY" in run(configure, folder)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(
        ["bash", "-c", "exec " + serve.strip().replace("8000", str(port))],
        cwd=folder,
        env=environment(),
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "serving on" in line:
            break
    _wait(port)
    yield port
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)


def _wait(port: int) -> None:
    transport = httpx.HTTPTransport(retries=20)
    with httpx.Client(transport=transport, trust_env=False) as http:
        assert http.get(f"http://127.0.0.1:{port}/readyz").status_code == 200


def test_the_readme_leads_to_a_first_credential(folder: Path, served: int) -> None:
    _, _, command_line, over_http = blocks("README.md", "A service of your own")
    tenant = command_line.splitlines()[0]
    here = f"export KEYLEDGER_URL=http://127.0.0.1:{served}\n"
    said = run(here + command_line, folder)
    assert "...xyz9" in said
    assert "sk-a-key-of-the-tenant" not in said
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed; the rest of the README's commands need it")
    said = run(f"{tenant}\n{over_http}".replace("8000", str(served)), folder)
    assert '"masked_key":"...abc1"' in said.replace(" ", "")
    assert '"action":"deleted"' in said.replace(" ", "")
    assert '"source":"tenant"' in said.replace(" ", "")
    assert "sk-a-new-key" not in said


def test_the_backup_of_the_embedded_server_is_a_dump(folder: Path, served: int) -> None:
    (backup,) = blocks("docs/operations.md", "Backup and restore")
    run(f"PATH={programs()}:$PATH\n{backup}", folder)
    assert "CREATE TABLE public.keyledger_events" in (folder / "backup.sql").read_text(encoding="utf-8")


def test_views_are_replayed_as_the_document_says(database_url: str, folder: Path) -> None:
    (replay,) = blocks("docs/operations.md", "Replay")
    said = run(f"export DATABASE_URL='{database_url}'\n{replay}", folder)
    assert "RebuildResult(projection='current_credentials'" in said
    assert "RebuildResult(projection='audit_trail'" in said


def test_links_between_documents_lead_somewhere() -> None:
    for document in [*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/**/*.md")]:
        for link in re.findall(r"\]\(([^)#]+)", document.read_text(encoding="utf-8")):
            assert (document.parent / link).exists(), f"{document.name}: {link}"


def test_tests_that_the_threat_model_names_exist() -> None:
    for named in re.findall(r"`(tests/[^`]+)`", (REPOSITORY / "SECURITY.md").read_text(encoding="utf-8")):
        assert (REPOSITORY / named).exists(), named


def test_every_setting_is_documented() -> None:
    from keyledger.settings import load

    documented = (REPOSITORY / "docs/configuration.md").read_text(encoding="utf-8")
    for setting in load({}, None).resolved:
        assert f"`{setting.name}`" in documented, setting.name
