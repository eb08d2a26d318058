"""One deployment of the service for tests that attack its store: a database, the nodes' folders, keys, and a provider.

All that these tests do to a store, and all that they ask of it, goes through the public face of the service: HTTP, the
commands, SQL by hand. So they say nothing about how a promise is kept, only whether it is.
"""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from domain.credentials.secret import Secret
from keyledger.encryption.keyring import Keyring
from keyledger.proofs.signing_keys import generate_signing_key
from scripts.demo.stand_in_provider import StandInProvider
from tests.support.command_line import Ended, command
from tests.support.service import DIRECT_MODELS, Client, client_of, environment, served
from tests.support.store import ENCRYPTION_KEY

PROVIDERS = ("openai", "mistral")
MODELS = {"openai": "gpt-4o", "mistral": "mistral-small"}
GLOBAL_KEYS = {name: f"sk-global-{name}-0123456789" for name in PROVIDERS}
SIGNING_KEY = generate_signing_key("log.example")

Place = tuple[str, str]
"""A tenant and a provider."""


@dataclass(frozen=True)
class Deployment:
    """Everything that a deployment has besides the rows of its database.

    nodes: the folder of each node. keys: the encryption keys, the primary one first. fallback: GLOBAL_FALLBACK.
    """

    url: str
    nodes: tuple[Path, ...]
    provider: StandInProvider
    keys: tuple[Secret, ...] = (ENCRYPTION_KEY,)
    fallback: str = "allow"
    more: Mapping[str, str] = field(default_factory=dict)

    @property
    def keyring(self) -> Keyring:
        return Keyring(self.keys[0], list(self.keys[1:]))

    def settings(self, node: int = 0) -> dict[str, str]:
        """The settings of a node."""
        former = ",".join(key.reveal() for key in self.keys[1:])
        return environment(
            AI_MODELS_FILE=DIRECT_MODELS,
            AUDIT_SIGNING_KEY=SIGNING_KEY.reveal(),
            DATA_DIR=str(self.nodes[node]),
            ENCRYPTION_KEY=self.keys[0].reveal(),
            ENCRYPTION_KEY_PREVIOUS=former,
            GLOBAL_FALLBACK=self.fallback,
            ENDPOINT_ALLOWED_HOSTS=self.provider.url.removeprefix("http://"),
            **{f"{name.upper()}_API_BASE": f"{self.provider.url}/{name}" for name in PROVIDERS},
            **{f"{name.upper()}_API_KEY": key for name, key in GLOBAL_KEYS.items()},
            **self.more,
        )

    @contextmanager
    def served(self, node: int = 0) -> Iterator[Client]:
        """The service of a node. Raises what its start raises."""
        with served(self.url, self.settings(node)) as address, client_of(address) as client:
            yield client

    def command(self, *arguments: str, node: int = 0, more: Mapping[str, str] | None = None) -> Ended:
        """Run a command on the node's machine. more: settings."""
        settings = {**self.settings(node), "DATABASE_URL": self.url, **(more or {})}
        return command(self.nodes[node].parent, settings, *arguments)

    def copied(self, url: str, folder: Path) -> "Deployment":
        """The same deployment on a copy of its database, with copies of the nodes' folders."""
        nodes = tuple(Path(shutil.copytree(node, folder / node.name)) for node in self.nodes)
        return replace(self, url=url, nodes=nodes)

    def call(self, client: Client, place: Place) -> tuple[str | None, str]:
        """Call a model; return the key that reached the provider, if one did, and the code of the error."""
        tenant, provider = place
        body = {"model": MODELS[provider], "messages": [{"role": "user", "content": "hello"}]}
        self.provider.forget()
        answer = client.native(tenant, provider, "v1/chat/completions", json=body)
        arrived = [request.key for request in self.provider.requests]
        assert len(arrived) <= 1, arrived
        return (arrived[0] if arrived else None), str(answer.json().get("code", answer.status_code))
