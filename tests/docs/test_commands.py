"""The commands of the documents run as written, in a folder of their own and in the order of the document."""

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from api.front.problems import HTTP_ROWS, SERVICE_ROWS
from domain.audit.query import NAMES
from scripts.terminal.exits import Exit
from tests.support import warmed
from tests.support.neutral import inheritable
from tests.support.places import REPOSITORY
from tests.support.ports import free_port
from tests.support.service import DIRECT_MODELS, client_of
from tests.support.store import ENCRYPTION_KEY, open_store

KEYLEDGER = ".venv/bin/keyledger"
FIRST = "11111111-1111-4111-8111-111111111111"
SECOND = "22222222-2222-4222-8222-222222222222"
_BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks(document: str, heading: str) -> list[str]:
    """The shell blocks of one section."""
    text = (REPOSITORY / document).read_text(encoding="utf-8")
    section = text.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    return _BLOCK.findall(section)


def furnished(folder: Path, models: str = DIRECT_MODELS) -> Path:
    """The folder, with what a clone has in it."""
    programs = folder / ".venv" / "bin"
    programs.mkdir(parents=True)
    warmed.command_in(programs)
    for used in ("pyvenv.cfg", "lib", "bin/python"):
        (folder / ".venv" / used).symlink_to(REPOSITORY / ".venv" / used)
    (folder / "ai_models.yml").symlink_to(models)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return furnished(tmp_path)


def environment() -> dict[str, str]:
    return inheritable() | {"LANG": os.environ["LANG"]}


def run(script: str, folder: Path) -> str:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env=environment(),
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@dataclass(frozen=True)
class Served:
    """A service that the first two blocks of the README made, the second in another terminal."""

    folder: Path
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def served_in(folder: Path) -> Iterator[Served]:
    configure, *_ = blocks("README.md", "A service of your own")
    assert "ENCRYPTION_KEY" in run(configure, folder)
    with serving(folder) as port:
        yield Served(folder, port)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One service for the tests that set and read credentials, leave its settings alone and call no model."""
    with served_in(furnished(tmp_path_factory.mktemp("served"))) as one:
        yield one


@pytest.fixture
def served_alone(folder: Path) -> Iterator[Served]:
    """A service for one test, which changes its settings or looks at all of them."""
    with served_in(folder) as one:
        yield one


@contextmanager
def serving(folder: Path) -> Iterator[int]:
    """A service on a free port, started in the folder as the README says."""
    _, serve, *_ = blocks("README.md", "A service of your own")
    port = free_port()
    process = subprocess.Popen(
        ["bash", "-c", "exec " + serve.strip().replace("8000", str(port))],
        cwd=folder,
        env=environment(),
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        encoding="utf-8",
    )
    assert process.stderr is not None
    try:
        said = ""
        for line in process.stderr:
            said += line
            if "serving on" in line:
                break
        else:
            pytest.fail(said)
        _wait(port)
        yield port
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)


def _wait(port: int) -> None:
    transport = httpx.HTTPTransport(retries=20)
    with httpx.Client(transport=transport, timeout=60, trust_env=False) as http:
        assert http.get(f"http://127.0.0.1:{port}/livez").status_code == 200


@pytest.mark.long
def test_the_readme_leads_to_a_first_credential(tmp_path: Path) -> None:
    with served_in(furnished(tmp_path, str(REPOSITORY / "ai_models.yml"))) as served:
        follow_the_readme(served)


def follow_the_readme(served: Served) -> None:
    """Run the commands of the section, with a catalogue whose models tenants' keys may serve."""
    _, _, command_line, over_http = blocks("README.md", "A service of your own")
    tenant = command_line.splitlines()[0]
    said = run(f"export KEYLEDGER_URL={served.url}\n{command_line}", served.folder)
    assert "...xyz9" in said
    assert "sk-a-key-of-the-tenant" not in said
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed; the rest of the README's commands need it")
    said = run(f"{tenant}\n{over_http}".replace("8000", str(served.port)), served.folder)
    assert '"masked_key":"...abc1"' in said.replace(" ", "")
    assert '"action":"deleted"' in said.replace(" ", "")
    assert '"source":"tenant"' in said.replace(" ", "")
    assert "sk-a-new-key" not in said


def test_the_readme_shows_an_auditor_what_happened_and_that_it_is_proven(served: Served) -> None:
    tenant = blocks("README.md", "A service of your own")[2].splitlines()[0]
    (looking,) = blocks("README.md", "For auditors")
    set_key(served.folder, served.port, tenant.removeprefix("TENANT="))
    said = run(f"export KEYLEDGER_URL={served.url}\n{tenant}\n{looking}", served.folder)
    assert re.search(r"v1 +set by super", said)
    assert re.search(r"audit entries +\d+ +verified", said)
    assert re.search(r"live credentials +([1-9]\d*) of \1 +verified", said)


@pytest.mark.long
def test_a_vllm_in_a_private_network_is_set_and_listed_as_the_document_says(served_alone: Served) -> None:
    folder = served_alone.folder
    setting, strict = blocks("docs/operations.md", "vLLM in a private network")
    here = f"export KEYLEDGER_URL={served_alone.url} TENANT={FIRST} VLLM_KEY=EMPTY\n"
    admin = 'export SUPER_API_KEY=$(sed -n "s/^SUPER_API_KEY=//p" .env)\n'
    run(here + admin + setting, folder)
    assert "endpoint=http://tenant-vllm:8000" in run(f"{here}{admin}{KEYLEDGER} credentials list $TENANT", folder)
    assert re.search(r"SELF_HOSTED_ENDPOINTS +listed +.env", run(strict, folder))


def test_all_tenants_are_looked_at_as_the_document_says(served: Served) -> None:
    (looking,) = blocks("docs/api.md", "All tenants")
    set_key(served.folder, served.port, FIRST)
    key = "export SUPER_API_KEY=$(sed -n 's/^SUPER_API_KEY=//p' .env)"
    here = f"export PATH=$PWD/.venv/bin:$PATH KEYLEDGER_URL={served.url}\n{key}\n"
    said = run(here + looking, served.folder)
    assert re.search(rf"{FIRST} +- +\d+ +\d+ untested", said)
    assert re.search(rf"{FIRST} +openai +\.\.\.\S+ +untested", said)
    assert '"next": null' in said


def test_the_doctor_finds_no_fault_in_what_the_readme_made(served: Served) -> None:
    (asking,) = blocks("docs/operations.md", "When something does not work")
    asking = asking.strip() + f" --port {served.port}"
    said = run(f"export PATH=$PWD/.venv/bin:$PATH\n{asking}", served.folder)
    assert re.search(rf"port +ok +KeyLedger answers at 127.0.0.1:{served.port}", said)
    assert re.search(r"anchors +ok ", said) and re.search(r"peers +ok +every service on this database", said)


def set_key(folder: Path, port: int, tenant: str) -> None:
    command = f"credentials set {tenant} openai --stdin --url http://127.0.0.1:{port}"
    run(f'echo "sk-of-{tenant}" | SUPER_API_KEY=$(sed -n "s/^SUPER_API_KEY=//p" .env) {KEYLEDGER} {command}', folder)


def listed(folder: Path, port: int, tenant: str) -> list[tuple[str, str]]:
    """The state and key id of each of its credentials."""
    (key,) = re.findall(r"^SUPER_API_KEY=(.*)$", (folder / ".env").read_text(), re.MULTILINE)
    with client_of(f"http://127.0.0.1:{port}", key) as client:
        answer = client.http.get(f"/api/v1/sysadmin/tenants/{tenant}/credentials")
    assert answer.status_code == 200, answer.text
    return [(one["encryption_status"], one["key_id"]) for one in answer.json()["credentials"]]


@pytest.mark.long
def test_a_backup_is_made_restored_refused_and_accepted(folder: Path) -> None:
    backup, restore, accept = blocks("docs/operations.md", "Backup and restore")
    run(blocks("README.md", "A service of your own")[0], folder)
    with serving(folder) as port:
        set_key(folder, port, FIRST)
        run(backup, folder)
        set_key(folder, port, SECOND)
    try:
        run(restore, folder)
        refused = subprocess.run(
            [folder / KEYLEDGER, "serve", "--port", "0"],
            cwd=folder,
            env=environment(),
            capture_output=True,
            encoding="utf-8",
            timeout=60,
            check=False,
        )
        assert refused.returncode == Exit.REFUSED
        assert "keyledger restore accept" in refused.stderr
        run(accept, folder)
        with serving(folder) as port:
            assert [status for status, _ in listed(folder, port, FIRST)] == ["encrypted"]
            assert listed(folder, port, SECOND) == []
    finally:
        run(f"{KEYLEDGER} database stop", folder)


@pytest.mark.long
def test_settings_are_read_again_as_the_document_says(served_alone: Served) -> None:
    folder = served_alone.folder
    (again,) = blocks("docs/operations.md", "Reload")
    here = f"export KEYLEDGER_URL={served_alone.url}\n"
    assert "nothing changed" in run(here + again, folder)
    run("echo GLOBAL_FALLBACK=deny >> .env", folder)
    assert "in force: GLOBAL_FALLBACK" in run(here + again, folder)


@pytest.mark.long
def test_the_key_is_rotated_on_two_nodes_without_a_moment_at_which_one_cannot_read(
    folder: Path, database_url: str
) -> None:
    make, add, rotate, retire, adopt = blocks("docs/operations.md", "Rotating ENCRYPTION_KEY on several nodes")
    nodes = [folder / name for name in ("a", "b")]
    for node in nodes:
        node.mkdir()
        furnished(node)
    run(blocks("README.md", "A service of your own")[0], nodes[0])
    run(f"echo \"DATABASE_URL='{database_url}'\" >> .env", nodes[0])
    run(make, nodes[0])
    for name in (".env", "new-encryption-key"):
        shutil.copy(nodes[0] / name, nodes[1] / name)
    with serving(nodes[0]) as first, serving(nodes[1]) as second:
        ports = dict(zip(nodes, (first, second), strict=True))

        def on_every_node(script: str) -> None:
            for node in nodes:
                run(f"export KEYLEDGER_URL=http://127.0.0.1:{ports[node]}\n{script}", node)
                for one in nodes:
                    assert [status for status, _ in listed(one, ports[one], FIRST)] == ["encrypted"]

        set_key(nodes[0], first, FIRST)
        before = listed(nodes[1], second, FIRST)
        on_every_node(add)
        said = run(rotate, nodes[1])
        assert "safe to remove" in said
        run(retire, nodes[1])
        on_every_node(adopt)
        after = listed(nodes[0], first, FIRST)
        assert before != after, "another key id"
        set_key(nodes[1], second, FIRST)
        assert listed(nodes[1], second, FIRST) == after, "the new key seals"
    assert all(not (node / "new-encryption-key").exists() for node in nodes)
    assert all((node / ".env").stat().st_mode & 0o077 == 0 for node in nodes)


def test_views_are_replayed_as_the_document_says(database_url: str, folder: Path) -> None:
    settings = f"export DATABASE_URL='{database_url}'\n"
    with open_store(database_url) as store:
        store.set(FIRST, "openai", "sk-live-0123456789")
        store.audit()
    replay, mend, past = blocks("docs/operations.md", "Replay")
    said = run(settings + replay, folder)
    assert re.search(r"audit_trail +1 +1 +0 +1 +live", said)
    assert re.search(r"current_credentials +1 +1 +0 +yes", said)
    assert "yes" in run(settings + mend, folder)
    assert re.search(r"current_credentials +0 +0 +1 +no", run(settings + past, folder))


def test_what_a_leak_has_hit_is_deleted_as_the_document_says(database_url: str, folder: Path) -> None:
    with open_store(database_url) as store:
        store.set(FIRST, "openai", "sk-live-0123456789")
        key_id = store.keyring.primary_id
    (revoke,) = blocks("docs/operations.md", "A leaked key")
    settings = f"export DATABASE_URL='{database_url}' ENCRYPTION_KEY={ENCRYPTION_KEY.reveal()} KEY_ID={key_id}\n"
    said = run(f"export PATH=$PWD/.venv/bin:$PATH\n{settings}{revoke}", folder)
    assert len(re.findall(rf"{FIRST} +openai +\.\.\.6789", said)) == 2
    with open_store(database_url) as store:
        assert store.service.of_tenant(FIRST) == []


def test_exports_are_taken_as_the_document_says(served: Served) -> None:
    folder = served.folder
    (taking,) = blocks("docs/exports.md", "Taking one")
    set_key(folder, served.port, FIRST)
    admin = 'export SUPER_API_KEY=$(sed -n "s/^SUPER_API_KEY=//p" .env)\n'
    run(admin + taking.replace("8000", str(served.port)), folder)
    trail = (folder / "trail.csv").read_bytes()
    assert b",set,success," in trail
    assert len((folder / "deleted.jsonl").read_bytes().splitlines()) == trail.count(b",deleted,success,")
    assert (folder / "newer.jsonl").exists()


@pytest.mark.long
def test_an_auditor_gets_from_a_signing_key_to_a_verdict_as_the_document_says(folder: Path) -> None:
    sign, take, check, later, of_a_tenant, witness = blocks("docs/auditors.md", "To a verdict in five commands")
    (reading,) = blocks("docs/auditors.md", "Reading the log")
    (on_the_server,) = blocks("docs/auditors.md", "On the server")
    tenant = re.findall(r"[0-9a-f-]{36}", of_a_tenant)[0]
    run(blocks("README.md", "A service of your own")[0], folder)
    assert "(ledger.example.com)" in run(sign, folder)
    try:
        with serving(folder) as port:
            here = f"export KEYLEDGER_URL=http://127.0.0.1:{port}\n"
            set_key(folder, port, tenant)
            set_key(folder, port, FIRST)
            run(here + take, folder)
            assert run(check, folder).rstrip().endswith("The evidence holds.")
            set_key(folder, port, tenant)
            said = run(here + later, folder)
            assert "none was changed, removed or inserted since" in said
            assert f"of tenant {tenant}" in run(here + of_a_tenant, folder)
            said = run(here + witness, folder)
            assert said.count("\N{EM DASH} witness.example.org ") == 1
            assert "refused: an older bundle than the witness has seen" in said
            said = run(here + reading, folder)
            assert "set by super (cli)" in said
            assert "FAULT" not in run(on_the_server, folder)
        for _, _, what_to_do in section_rows("docs/auditors.md", "On the server"):
            for command in re.findall(r"`keyledger ([^`]+)`", what_to_do):
                run(f"{KEYLEDGER} {command}", folder)
        assert '"holds": true' in run(on_the_server, folder), "the service need not run"
    finally:
        run(f"{KEYLEDGER} database stop", folder)


def section_rows(document: str, heading: str) -> list[list[str]]:
    """The cells of the first table of a section, without its heading."""
    text = (REPOSITORY / document).read_text(encoding="utf-8").split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_every_term_of_the_search_is_documented() -> None:
    rows = section_rows("docs/auditors.md", "Reading the log")
    assert {name for row in rows for name in re.findall(r"`(\w+):`", row[0])} == set(NAMES)


def test_tests_that_the_table_of_requirements_names_exist() -> None:
    rows = section_rows("docs/auditors.md", "Requirements it helps to meet")
    for control, _, shown in rows:
        named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", shown)
        assert named, control
        for file, test in named:
            assert f"def {test}(" in (REPOSITORY / file).read_text(encoding="utf-8"), (control, test)


def test_every_problem_is_documented() -> None:
    document = (REPOSITORY / "docs/api.md").read_text(encoding="utf-8")
    _, table = document.split("\n## Errors\n", 1)
    inner = {"internal-error", "client-left"}  # our own errors, and texts that no one reads
    for code in set(SERVICE_ROWS) | set(HTTP_ROWS) - inner:
        assert f"`{code}`" in table, code


def test_links_between_documents_lead_somewhere() -> None:
    for document in [*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/**/*.md")]:
        for link in re.findall(r"\]\(([^)#]+)", document.read_text(encoding="utf-8")):
            assert (document.parent / link).exists(), f"{document.name}: {link}"


def test_tests_that_the_threat_model_names_exist() -> None:
    for named in re.findall(r"`(tests/[^`]+)`", (REPOSITORY / "SECURITY.md").read_text(encoding="utf-8")):
        path, _, function = named.partition("::")
        assert (REPOSITORY / path).exists(), named
        assert not function or f"def {function}(" in (REPOSITORY / path).read_text(encoding="utf-8"), named


def test_every_setting_is_documented() -> None:
    from keyledger.settings.settings import load

    documented = (REPOSITORY / "docs/configuration.md").read_text(encoding="utf-8")
    for setting in load({}, None).resolved:
        assert f"`{setting.name}`" in documented, setting.name
