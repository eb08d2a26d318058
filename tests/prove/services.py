"""Services as processes of their own, with a provider that records which key arrived, and the log that they wrote."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from tests.prove.check import Logged
from tests.support.checker import check as check_store
from tests.support.native_provider import NativeProvider
from tests.support.service import DIRECT_MODELS, ServiceProcess, environment
from tests.support.store import open_store

_CHANGES = {"set", "replaced", "deleted"}
_ALL = 10_000_000


@contextmanager
def services(
    databases: Mapping[str, str], folder: Path, provider: NativeProvider, **settings: str
) -> Iterator[dict[str, ServiceProcess]]:
    """Run a service for each name, on its database address, with its own DATA_DIR in the folder.

    Their logs are in the folder afterwards.
    """
    running = {}
    with ExitStack() as stack:
        for name, database_url in databases.items():
            wanted = environment(
                DATABASE_URL=database_url,
                DATA_DIR=str(folder / name),
                AI_MODELS_FILE=DIRECT_MODELS,
                OPENAI_API_BASE=provider.url,
                ENDPOINT_ALLOWED_HOSTS=urlsplit(provider.url).netloc,
                **settings,
            )
            process = ServiceProcess(wanted, folder)
            stack.callback(_keep_log, process, folder / f"{name}.log")
            running[name] = stack.enter_context(process)
        yield running


def _keep_log(process: ServiceProcess, file: Path) -> None:
    file.write_text(process.log, encoding="utf-8")


def changes_in(database_url: str) -> list[Logged]:
    """Return the changes of credentials in the log, after a whole check of the store, which no service may use.

    Raises AssertionError.
    """
    with open_store(database_url) as store:
        check_store(store)
        return [
            Logged(entry.position, entry.tenant_id, entry.provider, entry.request_id)
            for entry in store.audit(limit=_ALL)
            if entry.action in _CHANGES and entry.tenant_id and entry.provider
        ]
