"""The product does the same whatever it inherits: locale, zone, terminal, umask, proxies, streams, signals."""

import json
import re
import signal
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from keyledger.encryption.reencryption import FAST
from scripts.demo.stand_in_provider import StandInProvider
from scripts.terminal.exits import Exit
from tests.scripts.conftest import Cli, Ended
from tests.scripts.process import Process, running
from tests.support.rings import NEW, OLD, fill, set_all, tenants, under_keys
from tests.support.service import ADMIN_KEY, DIRECT_MODELS, client_of, credential, environment
from tests.support.store import ENCRYPTION_KEY, OTHER_ENCRYPTION_KEY, open_store

TENANT = str(uuid4())
KEY = f"sk-tenant-{uuid4().hex}"
SERVING = r"serving on (http://\S+)"
_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_NOWHERE = "http://127.0.0.1:9"
_SIGINT = 1 << signal.SIGINT - 1
_PROXIES = ("http_proxy", "https_proxy", "all_proxy")


@dataclass(frozen=True)
class Odd:
    """The environment that a process inherits: variables, and a line of shell for the rest."""

    variables: Mapping[str, str] = field(default_factory=dict)
    started_by: str = ":"


ENVIRONMENTS = [
    pytest.param(
        Odd(
            {name: _NOWHERE for low in _PROXIES for name in (low, low.upper())}
            | {"TZ": "Asia/Kathmandu", "LC_ALL": "POSIX", "TERM": "dumb", "COLUMNS": "20", "NO_COLOR": "1"},
            "umask 000; trap '' INT HUP; exec <&-",
        ),
        id="a job in the background of a careless shell behind a proxy",
    ),
    pytest.param(
        Odd(
            {"TZ": "America/St_Johns", "LANG": "tr_TR.UTF-8", "TERM": "xterm-256color", "COLUMNS": "400"}
            | {"FORCE_COLOR": "1", "PYTHONHASHSEED": "1", "PYTHONWARNINGS": "default", "NO_PROXY": "example.com"},
            "umask 077; unset HOME",
        ),
        id="a wide terminal with colours and no home",
        marks=pytest.mark.long,
    ),
    pytest.param(
        Odd(
            {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "HOME": "/proc/nowhere"}
            | {"PYTHONDONTWRITEBYTECODE": "1"},
            "umask 027",
        ),
        id="a locale of seven bits and a home that cannot be written",
        marks=pytest.mark.long,
    ),
]


def ended(folder: Path, odd: Odd, *arguments: str, env: Mapping[str, str]) -> Ended:
    """How a command ended there, its data without colours."""
    with running(folder, *arguments, env={**env, **odd.variables}, started_by=odd.started_by) as process:
        code = process.end()
    return Ended(code, _ANSI.sub("", "".join(process.said)), "".join(process.told))


@pytest.mark.parametrize("odd", ENVIRONMENTS)
def test_a_service_and_its_commands_do_the_same_everywhere(odd: Odd, cli: Cli, tmp_path: Path) -> None:
    begin = datetime.now(UTC)
    with StandInProvider(accepted=lambda key: True) as provider:
        settings = environment(
            AI_MODELS_FILE=DIRECT_MODELS,
            OPENAI_API_BASE=provider.url,
            ENDPOINT_ALLOWED_HOSTS=urlsplit(provider.url).netloc,
            AUDIT_SIGNING_KEY=_signing_key(),
        )
        serving = running(
            tmp_path,
            "serve",
            "--port",
            "0",
            "--workers",
            "1",
            env=settings | dict(odd.variables),
            started_by=odd.started_by,
        )
        with serving as service:
            url = service.wait_for(SERVING)
            with client_of(url) as client:
                assert client.put(TENANT, "openai", api_key=KEY).status_code == 200
                assert client.native(TENANT, "openai", "v1/chat/completions", json={}).status_code == 200
                assert ("INT" in odd.started_by) == bool(_blocked(service.popen.pid) & _SIGINT), (
                    "deaf to Ctrl-C in front"
                )
                history = client.http.get(f"{credential(TENANT, 'openai')}/history").json()
            asked = {"KEYLEDGER_URL": url, "KEYLEDGER_API_KEY": ADMIN_KEY}
            for command in (("credentials", "list", TENANT), ("history", TENANT, "--json")):
                assert ended(tmp_path, odd, *command, env=asked) == cli(*command, env=asked)
            assert service.terminate() == Exit.OK, service.told
    assert [request.key for request in provider.requests] == [KEY], "straight to the provider, by no proxy"
    assert_times_are_utc(json.dumps(history), begin)
    assert_times_are_utc("".join(service.told), begin)
    assert_private(tmp_path / ".data")


def assert_times_are_utc(text: str, begin: datetime) -> None:
    times = re.findall(r'"(\d{4}-\d\d-\d\dT[\d:.]+)Z"', text)
    assert times
    assert all(begin <= datetime.fromisoformat(f"{time}+00:00") <= datetime.now(UTC) for time in times)


def assert_private(folder: Path) -> None:
    """No one but its owner can enter the folder, and what is in its files is no one else's by itself, too."""
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    files = [path for path in folder.rglob("*") if path.is_file() and path.stat().st_size]
    assert len(files) > 100, "a whole database is among them"
    assert [path for path in files if path.stat().st_mode & 0o077] == []


def _signing_key() -> str:
    from keyledger.proofs.signing_keys import generate_signing_key

    return generate_signing_key("log.example").reveal()


def test_a_rotation_in_the_background_is_not_ended_by_ctrl_c_in_front(tmp_path: Path, database_url: str) -> None:
    fill(database_url, 0)
    with open_store(database_url, OLD) as store:
        set_all(store, tenants(4 * FAST.batch), "sk-live")
    env = {
        "TENANT_CREDENTIALS_ENABLED": "true",
        "ENCRYPTION_KEY": OTHER_ENCRYPTION_KEY.reveal(),
        "ENCRYPTION_KEY_PREVIOUS": ENCRYPTION_KEY.reveal(),
        "DATABASE_URL": database_url,
    }
    with running(tmp_path, "keys", "rotate", "--yes", env=env, started_by="trap '' INT", talkative=True) as process:
        process.wait_for(r"rotating to \w+: ([1-9][0-9,]*) of")
        process.popen.send_signal(signal.SIGINT)
        assert process.end() == Exit.OK, process.told
    with open_store(database_url, NEW) as store:
        assert under_keys(store) == {NEW.primary_id: 4 * FAST.batch}


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs the process files of Linux")
def test_each_process_of_a_service_in_the_background_is_deaf_to_ctrl_c_in_front(tmp_path: Path) -> None:
    command = ("serve", "--port", "0", "--workers", "2")
    with running(
        tmp_path, *command, env=environment(AI_MODELS_FILE=DIRECT_MODELS), started_by="trap '' INT"
    ) as service:
        with client_of(service.wait_for(SERVING)) as client:
            assert client.http.get("/livez").status_code == 200
        service.wait_for("(Application startup complete)", times=2)
        family = [service.popen.pid, *_children_that_serve(service)]
        assert len(family) == 3
        assert all(_blocked(pid) & _SIGINT for pid in family)
        assert service.terminate() == Exit.OK, service.told


def _children_that_serve(service: Process) -> list[int]:
    pid = service.popen.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    own = Path(f"/proc/{pid}/cmdline").read_bytes()
    return [int(child) for child in children if Path(f"/proc/{child}/cmdline").read_bytes() == own]


def _blocked(pid: int) -> int:
    told = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    return int(dict(line.split(":\t", 1) for line in told.splitlines())["SigBlk"], 16)


CLOSED = [
    pytest.param("<&-", ("credentials", "set", TENANT, "openai"), Exit.USAGE, id="stdin, where a key is asked for"),
    pytest.param("<&-", ("credentials", "delete", TENANT, "openai"), Exit.USAGE, id="stdin, where one confirms"),
    pytest.param(">&-", ("generate-encryption-key",), Exit.OK, id="stdout"),
    pytest.param("2>&-", ("config", "check"), Exit.ERROR_FOUND, id="stderr, where faults are listed"),
    pytest.param("<&- >&- 2>&-", ("--help",), Exit.OK, id="all"),
]


@pytest.mark.parametrize(("closed", "arguments", "code"), CLOSED)
def test_a_closed_stream_is_like_one_that_nobody_reads(tmp_path: Path, closed, arguments, code) -> None:
    env = {"KEYLEDGER_API_KEY": ADMIN_KEY, "TENANT_CREDENTIALS_ENABLED": "perhaps"}
    with running(tmp_path, *arguments, env=env, started_by=f"exec {closed}") as process:
        assert process.end() == code, process.told
    assert "Traceback" not in "".join(process.told)
