"""Our own service as a user starts it: `keyledger serve` with its defaults, on its embedded PostgreSQL or another."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmarks.frame import UnusableError
from benchmarks.load import TENANT, Call, send_calls
from benchmarks.processes import Running, free_port, request, server
from keyledger.encryption.keyring import generate_encryption_key

PROCESSES = os.cpu_count() or 1
"""As many as serve best on this machine."""

SUPER_KEY = "benchmark-super-key-0001"
MODEL = "gpt-4o"
ADMIN = (("X-API-Key", SUPER_KEY),)
PUT = Call(
    "PUT",
    "/api/v1/sysadmin/tenants/{tenant}/credentials/openai",
    ADMIN,
    '{"api_key": "sk-benchmark-{nth}-0123456789abcdef0123456789abcdef"}',
)
LIST = Call("GET", "/api/v1/sysadmin/tenants/{tenant}/credentials", ADMIN)
PASS_THROUGH = "/api/v1/tenants/{tenant}/providers/openai/v1/chat/completions"  # noqa: S105  a path


def processes_named(count: int) -> str:
    """Return how results call a service of so many processes."""
    return "one process" if count == 1 else f"{count} processes"


@contextmanager
def service(
    folder: Path,
    *,
    provider_port: int = 9,
    database_url: str | None = None,
    encryption_key: str | None = None,
    processes: int = 1,
) -> Iterator[Running]:
    """Serve while the block lasts. provider_port: where the tenants' provider is."""
    environment = {
        "TENANT_CREDENTIALS_ENABLED": "true",
        "ENCRYPTION_KEY": encryption_key or generate_encryption_key().reveal(),
        "SUPER_API_KEY": SUPER_KEY,
        "OPENAI_API_BASE": f"http://127.0.0.1:{provider_port}/v1",
        "AI_MODELS_FILE": str(Path(__file__).parents[1] / "ai_models.yml"),
        "DATA_DIR": str(folder / "data"),
    }
    if database_url is not None:
        environment["DATABASE_URL"] = database_url
    port = free_port()
    command = [str(Path(sys.executable).with_name("keyledger")), "serve", "--port", str(port)]
    command += ["--workers", str(processes)]
    with server(command, environment, folder, port, "/readyz") as running:
        yield running


def set_credentials(running: Running, tenants: int) -> None:
    """Give each tenant a credential for openai."""
    send_calls(running.port, Call(PUT.method, PUT.path, PUT.headers, PUT.body, tenants), 1, tenants)


def completion(path: str, *, streaming: bool, headers: tuple[tuple[str, str], ...] = ADMIN, model: str = MODEL) -> Call:
    """Return a short chat, the same for every contestant."""
    body = {"model": model, "messages": [{"role": "user", "content": "Say some words."}]}
    return Call("POST", path, headers, json.dumps(body | {"stream": True} if streaming else body))


OURS = "/api/v1/tenants/{tenant}/openai/v1/chat/completions"


def warm(running: Running, call: Call) -> None:
    """Make a first call, which waits for what is still being loaded. Raises UnusableError."""
    path = call.path.replace("{tenant}", TENANT % 1)
    headers = {"Content-Type": "application/json"} | dict(call.headers)
    request(running.port, call.method, path, call.body, headers)


def settle(running: Running, processes: int = 1) -> None:
    """Wait until the LLM library, which is loaded alongside, takes no more time from others. No provider is needed."""
    for _ in range(1 if processes == 1 else 4 * processes):  # each connection goes to one of them, at random
        with suppress(UnusableError):
            warm(running, completion(OURS, streaming=False))


def pass_through(running: Running, *, streaming: bool) -> Call:
    """Return the call through the native pass-through. Raises UnusableError while this service has none."""
    call = completion(PASS_THROUGH, streaming=streaming)
    try:
        warm(running, call)
    except UnusableError as why:
        if " 404:" in str(why):
            raise UnusableError("this service answers 404 to the pass-through") from None
        raise
    return call
