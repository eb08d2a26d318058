"""Two real nodes on one database, with a provider that records which key arrives.

The clock of the second node can be set while it runs.
Promises: nothing runs after `close`. A node that is started again has the same folder, so it compares the log with what
it knew of it.
"""

import base64
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from urllib.parse import urlsplit

import httpx

from projections.database.migration import migrate
from scripts.demo.stand_in_provider import StandInProvider
from scripts.terminal.exits import Exit
from tests.support import shifted_clock
from tests.support.command_line import command
from tests.support.postgres import templated_server
from tests.support.service import Client, ServiceProcess, client_of, environment

PROVIDERS = ("openai", "mistral")
MODELS = {"openai": "gpt-4o", "mistral": "mistral-small"}
GLOBAL_KEYS = {name: f"sk-global-{name}-0123456789" for name in PROVIDERS}
_CATALOGUE = """
completion_models:
  - {name: gpt-4o, family: openai, litellm_model_name: openai/gpt-4o}
  - {name: mistral-small, family: mistral, litellm_model_name: mistral/mistral-small}
embedding_models: []
"""


def new_encryption_key(chance: Random) -> str:
    """Return an ENCRYPTION_KEY."""
    return base64.urlsafe_b64encode(chance.randbytes(32)).decode()


@dataclass
class Node:
    """One node. offset_s: by how much its clock is ahead. keys: the primary one, then the previous ones."""

    folder: Path
    keys: list[str]
    offset_s: float = 0.0
    service: ServiceProcess | None = None
    client: Client | None = None
    _opened: ExitStack = field(default_factory=ExitStack)

    @property
    def clock(self) -> Path:
        """The file that says what its clock is."""
        return self.folder / "clock"

    def settings(self, common: Mapping[str, str]) -> dict[str, str]:
        """The settings of this node."""
        primary, *previous = self.keys
        return {
            **common,
            "DATA_DIR": str(self.folder / "data"),
            "ENCRYPTION_KEY": primary,
            "ENCRYPTION_KEY_PREVIOUS": ",".join(previous),
            shifted_clock.FILE: str(self.clock),
        }

    def start(self, common: Mapping[str, str]) -> None:
        """Start it with its keys."""
        self.service = ServiceProcess(self.settings(common), self.folder).start()
        self.client = self._opened.enter_context(client_of(self.service.url))

    def end(self, *, killed: bool = False) -> None:
        """End it, as a crash or as an operator does."""
        if self.service is not None:
            (self.service.kill if killed else self.service.stop)()
        self._opened.close()
        self.service = self.client = None

    def set_clock(self, seconds: float) -> None:
        """Set the clock, ahead of the right one by some seconds."""
        self.offset_s = seconds
        shifted_clock.set_shift(self.clock, seconds)


class World:
    """The database, the provider and the nodes.

    keys: every encryption key so far, the newest one last. key_steps: what is left of a rotation, each a node with the
    keys that it gets; without a node, the rotation itself. operations: how many requests and disturbances there were.
    """

    def __init__(self, folder: Path, chance: Random) -> None:
        self.chance = chance
        self.folder = folder
        self.operations = 0
        self.keys = [new_encryption_key(chance)]
        self.key_steps: list[tuple[int | None, list[str]]] = []
        self._opened = ExitStack()
        self.provider = self._opened.enter_context(StandInProvider(accepted=lambda key: True))
        server = self._opened.enter_context(templated_server(folder, migrate))
        self.url = self._opened.enter_context(server.fresh_database())
        catalogue = folder / "ai_models.yml"
        catalogue.write_text(_CATALOGUE)
        self.common = environment(
            DATABASE_URL=self.url,
            AI_MODELS_FILE=str(catalogue),
            ENDPOINT_ALLOWED_HOSTS=urlsplit(self.provider.url).netloc,
            **{f"{name.upper()}_API_BASE": f"{self.provider.url}/{name}" for name in PROVIDERS},
            **{f"{name.upper()}_API_KEY": key for name, key in GLOBAL_KEYS.items()},
        )
        self.nodes = [self._made(number) for number in range(2)]
        self.start()

    def _made(self, number: int) -> Node:
        folder = self.folder / f"node-{number}"
        folder.mkdir()
        node = Node(folder, list(self.keys))
        node.set_clock(0)
        return node

    def start(self) -> None:
        """Start the nodes that do not run."""
        for node in self.nodes:
            if node.service is None:
                node.start(self.common)

    def restart(self, number: int, keys: list[str] | None = None, *, killed: bool = False) -> None:
        """End a node and start it again. keys: others than before."""
        node = self.nodes[number]
        node.end(killed=killed)
        node.keys = keys or node.keys
        node.start(self.common)

    def key_that_arrives(self, answer: httpx.Response) -> str:
        """Return the key of the one call that the provider got, or the code of the error; forgets the call."""
        calls = self.provider.requests
        self.provider.forget()
        if len(calls) > 1:
            return f"{len(calls)} calls"
        return str(calls[0].key) if calls else str(answer.json().get("code", answer.status_code))

    def command(self, *arguments: str, node: int = 0) -> str:
        """Run a command on a node's machine with a right clock; return what went wrong, "" if nothing did."""
        ended = command(self.folder, self.nodes[node].settings(self.common), *arguments)
        return (
            "" if ended.code == Exit.OK else f"`keyledger {' '.join(arguments)}` ended with {ended.code}: {ended.err}"
        )

    def replace_by(self, backup: Path) -> str:
        """Restore a backup with every node stopped, and start the nodes with every key; return what went wrong."""
        for node in self.nodes:
            node.end()
            node.set_clock(0)
            node.keys = [self.keys[-1], *self.keys[:-1]]
        wrong = self.command("restore", "from", str(backup), "--yes")
        for number in range(2):
            wrong = wrong or self.command("restore", "accept", "--yes", node=number)
        if not wrong:
            self.start()
        return wrong

    def verified(self) -> list[str]:
        """Return what `verify` and `replay --compare` find."""
        return [found for found in (self.command("verify"), self.command("replay", "--compare")) if found]

    def close(self) -> None:
        """End everything."""
        for node in self.nodes:
            node.end(killed=True)
        self._opened.close()
