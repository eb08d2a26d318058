"""Secrets of a running service in what the system shows of its processes: environments, dumps, other processes."""

import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from psycopg.conninfo import make_conninfo

from keyledger.proofs.signing_keys import generate_signing_key
from tests.scripts.process import Process, running
from tests.support.service import ADMIN_KEY, DIRECT_MODELS, client_of, environment
from tests.support.store import OTHER_ENCRYPTION_KEY

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs the process files of Linux")

SERVING = r"serving on (http://\S+)"
SECRETS = {
    "ENCRYPTION_KEY_PREVIOUS": OTHER_ENCRYPTION_KEY.reveal(),
    "AUDIT_SIGNING_KEY": generate_signing_key("log.example").reveal(),
    "OPENAI_API_KEY": "sk-canary-of-openai-0123456789",
    "VLLM_API_KEY": "canary-of-vllm-0123456789",
    "VLLM_MODEL_URL": "https://vllm.example.com",
}


def family_of(pid: int) -> Iterator[int]:
    """The process and all that descend from it."""
    yield pid
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(OSError):
            for child in (task / "children").read_text(encoding="ascii").split():
                yield from family_of(int(child))


def shown_of(pid: int) -> bytes:
    """Return what this account may read of a process; of one that it cannot read, the kernel shows nothing."""
    shown = b""
    for name in ("environ", "cmdline"):
        with suppress(PermissionError, FileNotFoundError, ProcessLookupError):
            shown += Path(f"/proc/{pid}/{name}").read_bytes()
    return shown


def assert_nothing_shown(service: Process, secrets: list[str], at_least: int) -> None:
    family = set(family_of(service.popen.pid))
    assert len(family) >= at_least
    found = [(pid, secret) for pid in family for secret in secrets if secret.encode() in shown_of(pid)]
    assert found == []


@pytest.mark.parametrize("workers", ["1", pytest.param("2", marks=pytest.mark.long)])
def test_no_process_of_a_service_shows_a_secret_in_its_environment_also_after_a_reload(
    tmp_path: Path, database_url: str, workers: str
) -> None:
    # The second time with the embedded database, whose processes are part of the family.
    database = make_conninfo(database_url, password="canary-of-the-database") if workers == "1" else ""
    given = environment(AI_MODELS_FILE=DIRECT_MODELS, DATABASE_URL=database, **SECRETS)
    secrets = [given["ENCRYPTION_KEY"], ADMIN_KEY, "canary", *SECRETS.values()]
    (tmp_path / ".env").write_text("GLOBAL_FALLBACK=allow\n")
    (tmp_path / ".env").chmod(0o644)
    with running(tmp_path, "serve", "--port", "0", "--workers", workers, env=given) as service:
        service.wait_for(r"warning: (\.env can be read by every account \(0644\); run: chmod 600 \.env)")
        with client_of(service.wait_for(SERVING)) as client:
            service.wait_for("(Application startup complete)", times=int(workers))
            assert_nothing_shown(service, secrets, 1 if workers == "1" else 6)
            (tmp_path / ".env").write_text("GLOBAL_FALLBACK=deny\n")
            assert client.http.post("/api/v1/reload").json()["changed"] == ["GLOBAL_FALLBACK"]
            assert_nothing_shown(service, secrets, 1 if workers == "1" else 6)
            answer = client.put("0a1b2c3d-0000-4000-8000-000000000001", "openai", api_key="sk-a-tenant-0123456789")
            assert answer.status_code == 200, answer.text
        limits = [Path(f"/proc/{pid}/limits").read_text() for pid in family_of(service.popen.pid)]
        assert all("Max core file size        0                    0 " in one for one in limits)
        assert service.terminate() == 0


PROTECTED = """
import os, signal, sys
from keyledger.process_memory import protect
protect()
print("ready", flush=True)
if sys.argv[1] == "abort":
    os.abort()
sys.stdin.read()
"""


def test_a_process_that_aborts_leaves_no_dump_whatever_limit_it_was_started_with() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    ended = subprocess.run(
        [sys.executable, "-c", PROTECTED, "abort"],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (most, most)),
        check=False,
        capture_output=True,
    )
    assert ended.stdout == b"ready\n"
    with subprocess.Popen(
        [sys.executable, "-c", PROTECTED, "wait"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin and process.stdout
        assert process.stdout.readline() == b"ready\n"
        limits = Path(f"/proc/{process.pid}/limits").read_text()
        assert "Max core file size        0                    0 " in limits
        assert Path(f"/proc/{process.pid}/environ").stat().st_uid == 0, "the kernel gives it to root"
        process.stdin.close()
        assert process.wait() == 0


LOCKED = """
import resource, sys
from keyledger.process_memory import protect
# A capability that few processes have is needed to raise the limit, and none to lock memory as root.
limit = resource.RLIM_INFINITY if sys.argv[1] == "unlimited" else 8 << 20
resource.getrlimit = lambda which: (limit, limit)
protect()
kept = [bytes(1 << 20) for _ in range(20)]
(line,) = [line for line in open("/proc/self/status") if line.startswith("VmLck")]
print(int(line.split()[1]) > 20 << 10)
"""


def may_lock_memory() -> bool:
    """Return whether this process has CAP_IPC_LOCK."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapEff")]
    return bool(int(line.split()[1], 16) & 1 << 14)


@pytest.mark.parametrize(("limit", "locked"), [("unlimited", "True"), ("ordinary", "False")])
def test_memory_is_locked_only_where_the_limit_is_unlimited(limit: str, locked: str) -> None:
    if not may_lock_memory():
        pytest.skip("this account may lock no memory")
    shown = subprocess.run([sys.executable, "-c", LOCKED, limit], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == locked
