"""The whole service on real parts: served in this process for speed, or as processes that can be killed."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import httpx

from keyledger.assembly.compose import build
from keyledger.serving.http_server import listen, served_beside
from keyledger.settings.settings import load
from tests.support import warmed
from tests.support.neutral import inheritable
from tests.support.places import REPOSITORY
from tests.support.store import ENCRYPTION_KEY
from tests.support.warmed import Warmed

ADMIN_KEY = "admin-key-for-tests-0123456789"
DIRECT_MODELS = str(REPOSITORY / "tests/support/direct_models.yml")
"""A catalogue of models that are called directly: with it a service does not load LiteLLM."""
SHIPPED_MODELS = str(REPOSITORY / "ai_models.yml")
"""The catalogue that comes with the program. Its models are called through LiteLLM."""
_SERVING = re.compile(r"serving on (http://\S+)")


def environment(**settings: str) -> dict[str, str]:
    """The settings of a service with tenant credentials on, which calls models directly unless told otherwise."""
    return {
        "TENANT_CREDENTIALS_ENABLED": "true",
        "ENCRYPTION_KEY": ENCRYPTION_KEY.reveal(),
        "SUPER_API_KEY": ADMIN_KEY,
        "AI_MODELS_FILE": DIRECT_MODELS,
        "LOG_FORMAT": "json",
        **settings,
    }


@dataclass(frozen=True)
class Client:
    """An administrator and application in one, over HTTP."""

    http: httpx.Client

    def put(self, tenant: str, provider: str, **body: str) -> httpx.Response:
        return self.http.put(credential(tenant, provider), json=body)

    def delete(self, tenant: str, provider: str) -> httpx.Response:
        return self.http.delete(credential(tenant, provider))

    def chat(self, tenant: str, model: str, **more: Any) -> httpx.Response:
        body = {"model": model, "messages": [{"role": "user", "content": "hello"}], **more}
        return self.http.post(f"/api/v1/tenants/{tenant}/openai/v1/chat/completions", json=body)

    def native(self, tenant: str, provider: str, path: str, method: str = "POST", **more: Any) -> httpx.Response:
        return self.http.request(method, f"/api/v1/tenants/{tenant}/providers/{provider}/{path}", **more)

    def embed(self, tenant: str, model: str) -> httpx.Response:
        return self.http.post(f"/api/v1/tenants/{tenant}/openai/v1/embeddings", json={"model": model, "input": "hello"})


def credential(tenant: str, provider: str) -> str:
    return f"/api/v1/sysadmin/tenants/{tenant}/credentials/{provider}"


@contextmanager
def client_of(url: str, key: str = ADMIN_KEY) -> Iterator[Client]:
    # Loading certificates takes longer than ten requests, and the address is not one of TLS.
    with httpx.Client(base_url=url, headers={"X-API-Key": key}, timeout=60, trust_env=False, verify=False) as http:
        yield Client(http)


@contextmanager
def served(database_url: str, settings: Mapping[str, str], dotenv: Path | None = None) -> Iterator[str]:
    """A service in this process, on a free port, with a DATA_DIR of its own unless one is set; gives its URL.

    dotenv: a file of more settings.
    """
    with tempfile.TemporaryDirectory() as data_dir:
        service = build(load({"DATA_DIR": data_dir, **settings}, dotenv), database_url)
        try:
            service.prepare()
            with listen("127.0.0.1", 0) as listener, served_beside(service.app, listener) as url:
                yield url
        finally:
            service.close()


@dataclass
class ServiceProcess:
    """`keyledger serve --workers 1` as a process. cold: it loads its modules, too (see `tests.support.warmed`).

    module, tree: the program, and the folder that it is loaded from; others than these are always cold.
    """

    settings: Mapping[str, str]
    folder: Path
    cold: bool = False
    module: str = "scripts.main"
    tree: Path = REPOSITORY
    url: str = ""
    log: str = ""
    _process: "subprocess.Popen[bytes] | Warmed | None" = field(default=None, repr=False)
    _reader: threading.Thread | None = field(default=None, repr=False)

    def start(self) -> "ServiceProcess":
        reading, writing = os.pipe()
        lines = os.fdopen(reading, encoding="utf-8")
        with os.fdopen(writing, "wb") as log, Path(os.devnull).open("r+b") as null:
            self._process = self._begin((null.fileno(), null.fileno(), log.fileno()))
        for line in lines:
            self.log += line
            if found := _SERVING.search(line):
                self.url = found[1]
                self._reader = threading.Thread(target=self._read, args=(lines,), daemon=True)
                self._reader.start()
                return self
        lines.close()
        self._process.wait(timeout=60)
        self._process = None
        raise AssertionError(f"the service ended: {self.log}")

    def _begin(self, streams: tuple[int, int, int]) -> "subprocess.Popen[bytes] | Warmed":
        arguments = ("serve", "--port", "0", "--workers", "1")
        env = {**inheritable(), "PYTHONPATH": str(self.tree), **self.settings}
        if not (self.cold or self.module != "scripts.main" or self.tree != REPOSITORY):
            return Warmed(warmed.address(), arguments, self.folder, env, streams)
        command, (stdin, stdout, stderr) = [sys.executable, "-m", self.module, *arguments], streams
        return subprocess.Popen(command, cwd=self.folder, env=env, stdin=stdin, stdout=stdout, stderr=stderr)

    @property
    def pid(self) -> int:
        """The process id, while it runs."""
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """End it as a crash does."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it as an operator does."""
        self._end(signal.SIGTERM)

    def _read(self, lines: IO[str]) -> None:
        """Read the log all the time: a service waits as soon as the pipe for its log is full."""
        with lines:
            for line in lines:
                self.log += line

    def _end(self, how: signal.Signals) -> None:
        if self._process is None or self._reader is None:
            return
        self._process.send_signal(how)
        self._process.wait(timeout=60)
        self._reader.join(timeout=60)
        self._process = None

    def __enter__(self) -> "ServiceProcess":
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
