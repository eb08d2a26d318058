"""Random logs of an honest deployment, with all that may happen in one, and what calls and auditors must then see.

A log is grown in sessions: a node starts, some things happen, it stops in order. Between sessions an encryption key is
rotated, a person or a tenant is erased, policies are proposed and decided, a backup is taken, an older one is restored
and accepted, or another node takes over. A new kind of thing that may happen is one more line in `IN_A_SESSION` or
`BETWEEN_SESSIONS`.
"""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import UUID

from api.front.auth import SUPER_ACTOR, format_named_key
from domain.access.roles import Role
from domain.credentials.secret import Secret
from domain.events.event import CommandMeta, utc_now
from keyledger.encryption.keyring import Keyring
from keyledger.encryption.rotation import Rotator
from scripts.demo.stand_in_provider import StandInProvider
from scripts.terminal.exits import Exit
from tests.support.deployment import GLOBAL_KEYS, PROVIDERS, Deployment, Place
from tests.support.postgres import TemplatedServer
from tests.support.service import Client
from tests.support.store import OTHER_ENCRYPTION_KEY, open_store

TENANTS = [str(UUID(int=number, version=4)) for number in range(1, 5)]
_SECOND_KEY = "second-person-0123456789"
PROJECTIONS = ("current_credentials", "access_keys", "tenants", "audit_trail", "transparency_log")


@dataclass
class Backup:
    """A copy of the database, with what calls used then, and how often each tenant had been erased."""

    url: str
    calls: dict[Place, str]
    erased: Counter[str]


@dataclass
class HonestLog:
    """An honest deployment that grows. calls: the key that each place must use; a place without one has none.

    erased: how often each tenant was erased.
    """

    server: TemplatedServer
    chance: random.Random
    deployment: Deployment
    calls: dict[Place, str] = field(default_factory=dict)
    backups: list[Backup] = field(default_factory=list)
    erased: Counter[str] = field(default_factory=Counter)
    databases: Any = None
    happened: list[str] = field(default_factory=list)

    def grow(self, sessions: int) -> None:
        """Let some sessions pass, with something between them."""
        for _ in range(sessions):
            self.session(self.chance.randint(2, 8))
            between = self.chance.choice(list(BETWEEN_SESSIONS))
            if between == "restore" and not self.backups:
                between = "backup"
            self.happened.append(between)
            BETWEEN_SESSIONS[between](self)

    def session(self, steps: int) -> None:
        """Start a node, let things happen, stop it in order."""
        node = self.chance.randrange(len(self.deployment.nodes))
        names, weights = zip(*((name, weight) for name, (weight, _) in IN_A_SESSION.items()), strict=True)
        with self.deployment.served(node) as client:
            for name in self.chance.choices(names, weights, k=steps):
                self.happened.append(name)
                IN_A_SESSION[name][1](self, client)

    def everything_once(self) -> None:
        """Bring about each kind of thing, so that a forger finds an example of it to copy."""
        for fallback in ("deny", "allow"):
            self.deployment = replace(self.deployment, fallback=fallback)
            with self.deployment.served() as client:
                for place in [(tenant, "openai") for tenant in TENANTS[:2]] + [(TENANTS[0], "mistral")]:
                    self.put(client, place)
                for _, step in IN_A_SESSION.values():
                    step(self, client)
                self.put(client, (TENANTS[2], "openai"))
                self.put(client, (TENANTS[2], "openai"))
        propose(self)

    def put(self, client: Client, place: Place) -> None:
        key = f"sk-live-{self.chance.getrandbits(64):016x}"
        answer = client.put(*place, api_key=key)
        assert answer.status_code == 200, answer.text
        self.calls[place] = key

    def delete(self, client: Client, place: Place) -> None:
        assert client.delete(*place).status_code == 200
        del self.calls[place]

    def expected(self, place: Place) -> str:
        """The key that a call of the place must use."""
        return self.calls.get(place, GLOBAL_KEYS[place[1]])


def set_one(log: HonestLog, client: Client) -> None:
    log.put(client, (log.chance.choice(TENANTS), log.chance.choice(PROVIDERS)))


def delete_one(log: HonestLog, client: Client) -> None:
    if log.calls:
        log.delete(client, log.chance.choice(sorted(log.calls)))


def call_one(log: HonestLog, client: Client) -> None:
    place = (log.chance.choice(TENANTS), log.chance.choice(PROVIDERS))
    if log.deployment.fallback == "allow":
        assert log.deployment.call(client, place)[0] == log.expected(place)


def be_refused(log: HonestLog, client: Client) -> None:
    answer = client.put(log.chance.choice(TENANTS), "openai", api_key="...abcd")
    assert answer.status_code in {400, 422}, answer.text


def read_audit(log: HonestLog, client: Client) -> None:
    assert client.http.get("/api/v1/audit/entries?limit=5").status_code == 200


def take_evidence(log: HonestLog, client: Client) -> None:
    assert client.http.get("/api/v1/audit/evidence").status_code == 200


def rule_tenant(log: HonestLog, client: Client) -> None:
    """Give a tenant another policy, and freeze and thaw it; no call is refused for that afterwards."""
    tenant = f"/api/v1/sysadmin/tenants/{log.chance.choice(TENANTS)}"
    policy = {"own_endpoints": log.chance.random() < 0.5}
    assert client.http.put(f"{tenant}/policy", json=policy).status_code == 200
    for what in ("freeze", "thaw"):
        assert client.http.post(f"{tenant}/{what}").status_code == 200


def replay_one(log: HonestLog, client: Client) -> None:
    projection = log.chance.choice(PROJECTIONS)
    begun = client.http.post(f"/api/v1/sysadmin/projections/{projection}/replays")
    assert begun.status_code == 202, begun.text
    while (found := client.http.get(begun.headers["Location"]).json())["state"] == "running":
        pass
    assert found["state"] == "completed", found


def rotate(log: HonestLog) -> None:
    """Start with another primary key, and re-encrypt all under it."""
    first, *former = log.deployment.keys
    primary = OTHER_ENCRYPTION_KEY if first != OTHER_ENCRYPTION_KEY else former[0]
    log.deployment = replace(log.deployment, keys=(primary, first))
    log.session(0)
    with open_store(log.deployment.url, log.deployment.keyring) as store:
        rotator = Rotator(store.pool, store.log, store.keyring, utc_now)
        meta = CommandMeta("olga", "req-1", f"rotation-{log.chance.getrandbits(64):x}", role="operator", source="cli")
        assert not rotator.run(rotator.begin(meta), meta, lambda progress: True).unopened


def retire(log: HonestLog) -> None:
    """Rotate, and record that the former key is no longer needed."""
    rotate(log)
    former = Keyring(log.deployment.keys[1]).primary_id
    ended = log.deployment.command("keys", "retire", former, "--yes")
    assert ended.code == 0, ended.err


def back_up(log: HonestLog) -> None:
    url = log.databases.copy(log.deployment.url)
    log.backups.append(Backup(url, dict(log.calls), log.erased.copy()))


def restore(log: HonestLog) -> None:
    """Replace the database by an older one, and accept that on every node. It brings no erased tenant back."""
    backup = log.backups.pop()
    log.deployment = replace(log.deployment, url=backup.url)
    log.calls = {place: key for place, key in backup.calls.items() if backup.erased[place[0]] == log.erased[place[0]]}
    for node in range(len(log.deployment.nodes)):
        ended = log.deployment.command("restore", "accept", "--yes", node=node)
        assert ended.code == 0, ended.err


def erase_tenant(log: HonestLog) -> None:
    tenant = log.chance.choice(TENANTS)
    if _erase(log, "--tenant", tenant):
        log.erased[tenant] += 1
        log.calls = {place: key for place, key in log.calls.items() if place[0] != tenant}


def erase_person(log: HonestLog) -> None:
    _erase(log, "--actor", SUPER_ACTOR)


def _erase(log: HonestLog, *who: str) -> bool:
    """Erase on one node, and have the others learn it; return whether there was anything to erase."""
    ended = log.deployment.command("privacy", "erase", *who, "--reason", "asked to", "--yes")
    assert ended.code in {0, Exit.REFUSED}, ended.err
    for node in range(1, len(log.deployment.nodes)):
        with log.deployment.served(node):
            """It applies the erasures of the log at its start."""
    return ended.code == 0


def propose(log: HonestLog) -> None:
    """Propose changes of policies, of which a second person approves one, rejects one and leaves one open."""
    second = format_named_key("second", Role.SYSADMIN, Secret(_SECOND_KEY))
    more = {**log.deployment.more, "APPROVALS": "policy", "API_KEYS": second}
    with replace(log.deployment, more=more).served() as client:
        for how in ("approve", "reject", ""):
            policy = f"/api/v1/sysadmin/tenants/{log.chance.choice(TENANTS)}/policy"
            before = client.http.get(policy).json()
            answer = client.http.put(policy, json={"own_endpoints": not before["own_endpoints"]})
            assert answer.status_code == 202, answer.text
            if how:
                decided = client.http.post(f"{answer.headers['Location']}/{how}", headers={"X-API-Key": _SECOND_KEY})
                assert decided.status_code == 200, decided.text


def nothing(log: HonestLog) -> None:
    """Another session follows, on a node of its own choice."""


IN_A_SESSION: dict[str, tuple[int, Callable[[HonestLog, Client], None]]] = {
    "set": (8, set_one),
    "delete": (3, delete_one),
    "call": (2, call_one),
    "refused": (2, be_refused),
    "read": (2, read_audit),
    "evidence": (1, take_evidence),
    "rules for a tenant": (1, rule_tenant),
    "replay": (1, replay_one),
}
"""By name: how often, and what happens while a node serves."""

BETWEEN_SESSIONS: dict[str, Callable[[HonestLog], None]] = {
    "failover": nothing,
    "rotation": rotate,
    "proposals": propose,
    "retirement": retire,
    "erasure of a tenant": erase_tenant,
    "erasure of a person": erase_person,
    "backup": back_up,
    "restore": restore,
}
"""What happens while no node serves."""


class Databases:
    """Databases of one test, copied from each other and dropped together."""

    def __init__(self, server: TemplatedServer, stack: Any) -> None:
        self._server = server
        self._stack = stack

    def new(self) -> str:
        return str(self._stack.enter_context(self._server.fresh_database()))

    def copy(self, url: str) -> str:
        return str(self._stack.enter_context(self._server.copy_of(url)))


def honest_log(
    server: TemplatedServer, stack: Any, folder: Path, chance: random.Random, provider: StandInProvider
) -> HonestLog:
    """A deployment of two nodes, without an event yet. stack: where its databases are dropped."""
    databases = Databases(server, stack)
    nodes = tuple(folder / name for name in ("node-1", "node-2"))
    for node in nodes:
        node.mkdir(parents=True)
    return HonestLog(server, chance, Deployment(databases.new(), nodes, provider), databases=databases)
