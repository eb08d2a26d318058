"""Random commands on access keys, sent to two nodes, with a model of what each key admits.

Each step sends one command or presents one token, and compares the answer with the model. Keys of sysadmins need a
second person, so their commands become proposals, which other steps decide.
A 503 says that nothing is known, so the same request is sent again, with its `Idempotency-Key`.
Promises: a difference is an `AssertionError` that names the step; the steps follow from the random numbers alone.
"""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from api.front.auth import format_named_key
from domain.access.roles import Role
from domain.credentials.secret import Secret
from tests.support.service import DIRECT_MODELS, credential, environment

KEYS = "/api/v1/sysadmin/access-keys"
PROPOSALS = "/api/v1/sysadmin/proposals"
SECOND_KEY = "second-person-0123456789"
TENANTS = tuple(f"{number:08d}-0000-4000-8000-000000000000" for number in range(1, 5))
ROLES = ("runtime", "auditor", "tenant-admin", "sysadmin")
_NAMES = 12
_SECOND = format_named_key("second", Role.SYSADMIN, Secret(SECOND_KEY))
SETTINGS = environment(
    AI_MODELS_FILE=DIRECT_MODELS, APPROVALS="access-keys", API_KEYS=_SECOND, TRUSTED_PROXIES="127.0.0.1"
)
"""The settings that both nodes need."""
_KEPT = 8
_AGAIN = 5_000
"""Times that a request is sent again: a busy node may be without a lease for some seconds."""

Nodes = Callable[[int], httpx.Client]
"""Returns the client of a node, which presents the key of an administrator."""


@dataclass
class Key:
    """The model of a key. former: a token that works until the next rotation. dead: some that no longer work."""

    role: str
    version: int
    tenants: Sequence[str] | None
    token: str | None
    former: str | None = None
    revoked: bool = False
    dead: list[str] = field(default_factory=list)

    def ends(self, *tokens: str | None) -> None:
        """Note tokens that no longer work."""
        self.dead = [*self.dead, *(one for one in tokens if one)][-_KEPT:]


@dataclass(frozen=True)
class Pending:
    """A proposal that is open. expected: the version of the key that it follows. carry_out: changes the model."""

    proposal_id: str
    name: str
    expected: int
    carry_out: Callable[[], None]


class AccessModel:
    """The keys as they have to be. done: how often each kind of step was taken."""

    def __init__(self, nodes: Nodes, chance: random.Random) -> None:
        self._nodes = nodes
        self._chance = chance
        self.keys: dict[str, Key] = {}
        self.pending: list[Pending] = []
        self.sent: list[tuple[str, dict[str, Any], str]] = []
        self.done: Counter[str] = Counter()

    def step(self) -> None:
        """Take one step. Raises AssertionError where an answer differs from the model."""
        steps: Sequence[tuple[int, Callable[[], str]]] = (
            (55, self._present),
            (8, self._create),
            (10, self._change),
            (7, self._rotate),
            (5, self._revoke),
            (3, self._show),
            (3, self._repeat),
            (9, self._decide),
        )
        (chosen,) = self._chance.choices([one for _, one in steps], [weight for weight, _ in steps])
        self.done[chosen()] += 1

    def compare(self) -> None:
        """Compare what each node lists with the model. Raises AssertionError."""
        wanted = {name: (one.role, one.version, one.revoked) for name, one in self.keys.items()}
        for node in (0, 1):
            listed = self._nodes(node).get(KEYS, params={"limit": "1000"}).json()["access_keys"]
            found = {one["name"]: (one["role"], one["version"], one["state"] == "revoked") for one in listed}
            assert found == wanted, f"node {node} lists other keys"

    def _present(self) -> str:
        if not self.keys:
            return "nothing"
        live = self._live() if self._chance.random() < 0.8 else None
        name = live or self._chance.choice(list(self.keys))
        if self.keys[name].token is None:  # it was in an answer that was lost
            return "nothing"
        key, tenant = self.keys[name], self._chance.choice(TENANTS)
        token = self._chance.choice([*[key.token] * 3, key.former or key.token, *key.dead[-1:]])
        works = not key.revoked and token in {key.token, key.former}
        inside = key.tenants is None or tenant in key.tenants
        wanted = (200 if inside else 403) if works else 401
        path = {
            "runtime": f"/api/v1/tenants/{tenant}/openai/v1/models",
            "tenant-admin": f"/api/v1/tenants/{tenant}/credentials",
        }.get(key.role, credential(tenant, "openai").removesuffix("/openai"))
        # From another address each time: one that sends wrong keys waits for its answers.
        address = ".".join(str(self._chance.randrange(1, 255)) for _ in range(4))
        answer = self._send("GET", path, headers={"X-API-Key": token, "X-Forwarded-For": address})
        assert answer.status_code == wanted, f"{name} {key} at {tenant}: {answer.status_code} {answer.text[:200]}"
        return {200: "admitted", 401: "refused", 403: "outside"}[wanted]

    def _create(self) -> str:
        name = f"key-{self._chance.randrange(_NAMES)}"
        known, role = self.keys.get(name), self._chance.choice(ROLES)
        tenants = self._some_tenants(role)
        body = {"name": name, "role": role, "tenants": tenants}
        command_id = f"create-{self._chance.getrandbits(64):x}"
        answer = self._send("POST", KEYS, json=body, headers={"Idempotency-Key": command_id})
        if known is not None and not known.revoked:
            assert answer.status_code == 409, answer.text
            return "exists"
        version = known.version if known is not None else 0

        def made(token: str | None) -> None:
            before = self.keys.get(name)
            self.keys[name] = Key(role, version + 1, tenants, token, dead=before.dead if before else [])
            if before is not None:
                self.keys[name].ends(before.token, before.former)

        if role == "sysadmin":
            return self._proposed(answer, name, version, made)
        assert answer.status_code == 201, answer.text
        made(answer.json()["token"])
        self.sent.append((name, body, command_id))
        return "created"

    def _change(self) -> str:
        if (name := self._live()) is None:
            return "nothing"
        key = self.keys[name]
        tenants = self._some_tenants(key.role)
        right = self._chance.random() < 0.8
        tag = {"If-Match": f'"v{key.version if right else key.version + 1}"'}
        answer = self._send("PATCH", f"{KEYS}/{name}", json={"tenants": tenants}, headers=tag)
        if not right:
            assert answer.status_code == 412, answer.text
            return "another version"
        if tenants == key.tenants:
            assert answer.status_code == 200, answer.text
            return "the same"

        def changed(token: str | None) -> None:
            del token
            key.tenants, key.version = tenants, key.version + 1

        if key.role == "sysadmin":
            return self._proposed(answer, name, key.version, changed)
        assert answer.status_code == 200, answer.text
        changed(None)
        assert answer.headers["ETag"] == f'"v{key.version}"'
        return "changed"

    def _rotate(self) -> str:
        if (name := self._live()) is None:
            return "nothing"
        key, overlaps = self.keys[name], self._chance.random() < 0.5
        # A month ahead of any test: what a clock ends is not in the model.
        until = {"old_token_until": self._later() if overlaps else None}
        answer = self._send("POST", f"{KEYS}/{name}/rotate", json=until)

        def turned(token: str | None) -> None:
            key.ends(key.former, None if overlaps else key.token)
            key.former, key.token = (key.token if overlaps else None), token
            key.version += 1

        if key.role == "sysadmin":
            return self._proposed(answer, name, key.version, turned)
        assert answer.status_code == 200, answer.text
        turned(answer.json()["token"])
        return "rotated"

    def _revoke(self) -> str:
        if (name := self._live()) is None:
            return "nothing"
        key = self.keys[name]
        before, token = self.done["again"], key.former or key.token
        if token is not None and self._chance.random() < 0.3:
            answer = self._send("POST", f"{KEYS}/by-token/revoke", json={"token": token})
            if self.done["again"] > before and answer.status_code == 404:  # the answer that was lost had revoked it
                key.revoked, key.version = True, key.version + 1
                return "revoked"
        else:
            answer = self._send("DELETE", f"{KEYS}/{name}")
        assert answer.status_code == 200, answer.text
        key.revoked, key.version = True, key.version + 1
        return "revoked"

    def _show(self) -> str:
        name = f"key-{self._chance.randrange(_NAMES)}"
        key, answer = self.keys.get(name), self._send("GET", f"{KEYS}/{name}")
        if key is None or key.revoked:
            assert answer.status_code == 404, answer.text
            return "not found"
        shown = answer.json()
        tenants = None if key.tenants is None else sorted(key.tenants)
        assert (shown["version"], shown["role"]) == (key.version, key.role), answer.text
        assert (None if shown["tenants"] is None else sorted(shown["tenants"])) == tenants, answer.text
        return "shown"

    def _repeat(self) -> str:
        if not self.sent:
            return "nothing"
        name, body, command_id = self._chance.choice(self.sent[-20:])
        answer = self._send("POST", KEYS, json=body, headers={"Idempotency-Key": command_id})
        assert (answer.status_code, answer.json()["token"]) == (201, None), f"{name}: {answer.text}"
        return "repeated"

    def _decide(self) -> str:
        if not self.pending:
            return "nothing"
        one = self.pending[self._chance.randrange(len(self.pending))]
        how = self._chance.choice(("approve", "approve", "reject"))
        own = self._chance.random() < 0.2
        headers = {} if own else {"X-API-Key": SECOND_KEY}
        answer = self._send("POST", f"{PROPOSALS}/{one.proposal_id}/{how}", headers=headers)
        if how == "approve" and own:
            assert (answer.status_code, answer.json()["code"]) == (403, "own-proposal"), answer.text
            return "own proposal"
        self.pending.remove(one)
        if how == "reject":
            assert answer.status_code == 200, answer.text
            return "rejected"
        key = self.keys.get(one.name)
        if (key.version if key is not None else 0) != one.expected:
            assert (answer.status_code, answer.json()["code"]) == (409, "proposal-lapsed"), answer.text
            return "lapsed"
        assert answer.status_code == 200, answer.text
        one.carry_out()
        return "approved"

    def _proposed(self, answer: httpx.Response, name: str, version: int, then: Callable[[str | None], None]) -> str:
        assert answer.status_code == 202, answer.text
        shown = answer.json()
        token = shown["token"]
        self.pending.append(Pending(shown["proposal_id"], name, version, lambda: then(token)))
        del self.pending[:-_KEPT]
        return "proposed"

    def _send(self, method: str, path: str, **more: Any) -> httpx.Response:
        node, once = self._nodes(self._chance.randrange(2)), f"once-{self._chance.getrandbits(64):x}"
        more["headers"] = ({} if method == "GET" else {"Idempotency-Key": once}) | more.get("headers", {})
        answer = node.request(method, path, **more)
        for _ in range(_AGAIN):
            if answer.status_code != 503:
                break
            self.done["again"] += 1
            answer = node.request(method, path, **more)
        return answer

    def _live(self) -> str | None:
        live = [name for name, key in self.keys.items() if not key.revoked]
        return self._chance.choice(live) if live else None

    def _some_tenants(self, role: str) -> list[str] | None:
        if role != "tenant-admin" and self._chance.random() < 0.3:
            return None
        return sorted(self._chance.sample(TENANTS, self._chance.randint(1, 3)))

    @staticmethod
    def _later() -> str:
        return (datetime.now(UTC) + timedelta(days=29)).isoformat()
