"""A rotation from end to end: killed again and again it still ends, and afterwards the new key alone serves every
provider."""

import json
import os
import random
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from keyledger.encryption.rotation_rows import RotationRows
from keyledger.start_error import StartError
from projections.replay.replaying import PROJECTIONS, replay_projection
from scripts.demo.stand_in_provider import StandInProvider
from tests.support.checker import check
from tests.support.effort import KILLS
from tests.support.neutral import inheritable
from tests.support.places import REPOSITORY
from tests.support.rings import NEW, OLD, fill, set_all, tenants, under_keys
from tests.support.service import DIRECT_MODELS, Client, ServiceProcess, client_of, environment, served
from tests.support.store import ENCRYPTION_KEY, OTHER_ENCRYPTION_KEY, open_store

AT_ONCE = 2
CREDENTIALS = 1_000
AMID = {"ENCRYPTION_KEY": OTHER_ENCRYPTION_KEY.reveal(), "ENCRYPTION_KEY_PREVIOUS": ENCRYPTION_KEY.reveal()}
AFTER = {"ENCRYPTION_KEY": OTHER_ENCRYPTION_KEY.reveal()}
PROVIDERS = ("openai", "anthropic", "mistral", "ovhcloud", "berget", "azure", "vllm")
TENANT = tenants(1)[0]
KEYS = "/api/v1/sysadmin/encryption-keys"


LAUNCHER = """
import os, sys
import keyledger.assembly.for_commands.key_operation, scripts.commands.keys_rotate, scripts.terminal.progress
scripts.terminal.progress.QUIET_S = 0
from scripts.main import main
for fifo in sys.stdin:
    if (child := os.fork()) == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(os.open(fifo.strip(), os.O_WRONLY), 2)
        main(["keys", "rotate", "--yes"])
    print(child, flush=True)
    sys.stdin.readline()  # until then the process keeps its number, dead or alive, so that no other one is killed
    print(os.waitpid(child, 0)[1], flush=True)
"""
"""Runs the command in a process of its own for each line it reads, without loading Python each time."""


def process_of(folder: Path, database_url: str, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=folder,
        env={**inheritable(), "PYTHONPATH": str(REPOSITORY), **environment(DATABASE_URL=database_url, **AMID)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )


def ended_well(folder: Path, database_url: str, *arguments: str) -> None:
    process = process_of(folder, database_url, "-m", "scripts.main", "keys", *arguments)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said


class Launcher:
    """Starts rotations one after the other, each as a process, and kills each with -9."""

    def __init__(self, folder: Path, database_url: str) -> None:
        self._fifo = folder / "stderr"
        folder.mkdir()
        os.mkfifo(self._fifo)
        self._process = process_of(folder, database_url, "-c", LAUNCHER)

    def kill_at_line(self, line_number: int) -> bool:
        """Rotate until it has reported progress this many times, then kill it; say whether it still lived."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{self._fifo}\n")
        self._process.stdin.flush()
        pid = int(self._process.stdout.readline())
        with self._fifo.open(encoding="utf-8") as said:
            told = (line for line in said if line.startswith("rotating to "))
            for _ in zip(range(line_number), told, strict=False):
                pass
            os.kill(pid, signal.SIGKILL)
            self._process.stdin.write("\n")
            self._process.stdin.flush()
            return os.WIFSIGNALED(int(self._process.stdout.readline()))

    def close(self) -> None:
        self._process.communicate(timeout=60)


def test_a_rotation_that_is_killed_again_and_again_converges(database_url: str, tmp_path: Path) -> None:
    chance, kills, rounds = random.Random(3), 0, 0
    count = min(CREDENTIALS, 200 * KILLS)
    everyone = tenants(count)
    latest = {tenant: f"sk-first-{tenant}" for tenant in everyone}
    fill(database_url, count)
    with ExitStack() as stack:
        store = stack.enter_context(open_store(database_url, OLD))
        threads = stack.enter_context(ThreadPoolExecutor(AT_ONCE))
        launchers = [Launcher(tmp_path / str(number), database_url) for number in range(AT_ONCE)]
        for launcher in launchers:
            stack.callback(launcher.close)
        while kills < 2 * KILLS:
            rounds += 1
            lines = [chance.randint(1, 4) for _ in launchers]
            kills += sum(threads.map(Launcher.kill_at_line, launchers, lines))
            if under_keys(store).get(OLD.primary_id, 0) < count // 4:  # as a service with the former primary does
                again = chance.sample(everyone, count // 2)
                set_all(store, again, f"sk-round{rounds}")
                latest |= {tenant: f"sk-round{rounds}-{tenant}" for tenant in again}

    ended_well(tmp_path, database_url, "rotate", "--yes")
    with open_store(database_url, NEW) as store:
        assert under_keys(store) == {NEW.primary_id: count}
        for tenant, key in latest.items():
            current = store.view.read(tenant, "openai").current()
            assert current is not None
            assert current.sealed is not None
            assert NEW.open(current.sealed, current.context).reveal() == key
        check(store)
        assert [one.action for one in store.audit(limit=1_000_000)[-2:]] == ["rotation-completed", "log-attested"]
        assert RotationRows(store.pool).latest()


def children_of(pid: int) -> list[int]:
    """The processes that a process started and that still run."""
    found = []
    for one in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            state, parent = (one / "stat").read_text().rpartition(")")[2].split()[:2]
            if int(parent) == pid and state != "Z":
                found.append(int(one.name))
    return found


def sealing_process_of(service: ServiceProcess, client: Client) -> int:
    """Begin a rotation in a service and, once it has reported a batch, return the process that seals."""
    begun = client.http.post(f"{KEYS}/rotations")
    assert begun.status_code == 202, begun.text
    while client.http.get(begun.headers["Location"]).json()["reencrypted"] == 0:
        pass
    (sealing,) = [one for one in children_of(service.pid) if b"spawn_main" in Path(f"/proc/{one}/cmdline").read_bytes()]
    return sealing


def test_a_service_that_is_killed_takes_its_sealing_process_along_and_shows_it_no_key(
    database_url: str, tmp_path: Path
) -> None:
    fill(database_url, CREDENTIALS)
    with (
        ServiceProcess(
            environment(DATABASE_URL=database_url, AI_MODELS_FILE=DIRECT_MODELS, **AMID), tmp_path
        ) as service,
        client_of(service.url) as client,
    ):
        sealing = sealing_process_of(service, client)
        for name in ("cmdline", "environ"):
            with suppress(PermissionError):  # the system shows it to root only
                shown = Path(f"/proc/{sealing}/{name}").read_bytes()
                assert not [key for key in AMID.values() if key.encode() in shown]
        ended = os.pidfd_open(sealing)
        service.kill()
        assert select.select([ended], [], [], 60)[0], "the process ends after its batch"
        os.close(ended)
    with open_store(database_url, NEW) as store:
        assert under_keys(store)[OLD.primary_id] > 0, "it was killed in the midst"
    ended_well(tmp_path, database_url, "rotate", "--yes")
    with open_store(database_url, NEW) as store:
        assert under_keys(store) == {NEW.primary_id: CREDENTIALS}
        check(store)


def test_a_service_whose_sealing_process_is_killed_says_so_and_rotates_again(database_url: str, tmp_path: Path) -> None:
    fill(database_url, CREDENTIALS)
    settings = environment(DATABASE_URL=database_url, AI_MODELS_FILE=DIRECT_MODELS, **AMID)
    with ServiceProcess(settings, tmp_path) as service, client_of(service.url) as client:
        os.kill(sealing_process_of(service, client), signal.SIGKILL)
        (listed,) = client.http.get(f"{KEYS}/rotations").json()["rotations"]
        assert follow(client, f"{KEYS}/rotations/{listed['rotation_id']}")["state"] == "failed"
        again = client.http.post(f"{KEYS}/rotations")
        assert follow(client, again.headers["Location"])["state"] == "completed"
        with open_store(database_url, NEW) as store:
            assert under_keys(store) == {NEW.primary_id: CREDENTIALS}
            check(store)
    assert "failed: ProcessError" in service.log


@dataclass(frozen=True)
class Stage:
    """One database and one provider, on which services start one after the other, each with its own keys."""

    provider: StandInProvider
    database_url: str
    settings: dict[str, str]

    @contextmanager
    def service(self, **settings: str) -> Iterator[Client]:
        with served(self.database_url, self.settings | settings) as url, client_of(url) as client:
            yield client

    def calls(self, client: Client) -> dict[str, object]:
        """Call a model of every provider; give the key that arrived there, or the code of the error."""
        found: dict[str, object] = {}
        for provider in PROVIDERS:
            self.provider.forget()
            answer = client.chat(TENANT, f"{provider}-model")
            arrived = [request.key for request in self.provider.requests]
            assert len(arrived) == (answer.status_code == 200), (provider, answer.text)
            found[provider] = arrived[0] if arrived else answer.json()["code"]
        return found


@pytest.fixture
def stage(database_url: str, tmp_path: Path) -> Iterator[Stage]:
    models = tmp_path / "ai_models.yml"
    entries = [{"name": f"{name}-model", "family": name, "litellm_model_name": f"{name}/m"} for name in PROVIDERS]
    models.write_text(yaml.safe_dump({"completion_models": entries, "embedding_models": []}), encoding="utf-8")
    with StandInProvider(accepted=lambda key: True) as provider:
        bases = {f"{name.upper()}_API_BASE": f"{provider.url}/{name}" for name in PROVIDERS[:5]}
        allowed = {"ENDPOINT_ALLOWED_HOSTS": urlsplit(provider.url).netloc}
        yield Stage(provider, database_url, environment(AI_MODELS_FILE=str(models), **bases, **allowed))


def follow(client: Client, location: str) -> dict[str, object]:
    """Follow a rotation to its last event and return it."""
    names: list[str] = []
    last: dict[str, object] = {}
    with client.http.stream("GET", f"{location}/events") as answer:
        for line in answer.iter_lines():
            name, _, value = line.partition(": ")
            if name == "event":
                names.append(value)
            elif name == "data":
                last = json.loads(value)
    assert names[-1] == "done"
    assert set(names[:-1]) <= {"progress"}
    return last


def key_states(client: Client) -> dict[str, tuple[object, ...]]:
    listed = client.http.get(KEYS).json()["keys"]
    return {one["key_id"]: (one["state"], one["live"], one["superseded"], one["safe_to_remove"]) for one in listed}


def test_set_rotate_retire_restart_replay_and_call_works_for_every_provider(stage: Stage, tmp_path: Path) -> None:
    expected = {provider: f"sk-{provider}-0123456789" for provider in PROVIDERS}
    with stage.service() as client:
        for provider, key in expected.items():
            more = {"endpoint": f"{stage.provider.url}/{provider}"} if provider in {"azure", "vllm"} else {}
            if provider == "azure":
                more |= {"api_version": "2024-10-21", "deployment_name": "gpt-4o"}
            assert client.put(TENANT, provider, api_key=key, **more).status_code == 200
        assert stage.calls(client) == expected

    with stage.service(**AMID) as client:
        assert stage.calls(client) == expected
        begun = client.http.post(f"{KEYS}/rotations")
        assert begun.status_code == 202, begun.text
        done = follow(client, begun.headers["Location"])
        assert (done["state"], done["reencrypted"], done["failed"]) == ("completed", len(PROVIDERS), 0)
        assert key_states(client) == {
            NEW.primary_id: ("primary", len(PROVIDERS), 0, False),
            OLD.primary_id: ("previous", 0, len(PROVIDERS), True),
        }
        assert stage.calls(client) == expected
        ended_well(tmp_path, stage.database_url, "retire", OLD.primary_id, "--yes")
        assert key_states(client)[OLD.primary_id] == ("retired", 0, len(PROVIDERS), True)

    with stage.service(**AFTER) as client:
        assert all(replay_projection(stage.database_url, view).difference_count == 0 for view in PROJECTIONS)
        assert stage.calls(client) == expected
        actions = [one["action"] for one in client.http.get("/api/v1/audit/entries").json()["entries"]]
    assert [action for action in actions if "key" in action or "rotation" in action] == [
        "key-introduced",
        "key-introduced",
        "rotation-started",
        "rotation-completed",
        "key-retired",
    ]

    with pytest.raises(StartError, match="7 credentials"), stage.service():
        pass
    with stage.service(ALLOW_UNREADABLE_CREDENTIALS="true") as client:
        assert set(stage.calls(client).values()) == {"credential-unreadable"}
