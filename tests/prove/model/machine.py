"""Random operations on two nodes, chosen and shrunk by Hypothesis, each answer compared with what is expected of it.

Each example has tenants of its own, so examples do not depend on each other although they share the nodes: what an
example leaves behind are keys, versions of the nodes' keys and a longer log.
"""

import threading
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from typing import Any, ClassVar
from uuid import UUID

import httpx
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from tests.prove.model.expectation import Done, Expectation, Place
from tests.prove.model.world import GLOBAL_KEYS, MODELS, PROVIDERS, World, new_encryption_key
from tests.support.service import Client, client_of, credential

NODES = st.integers(0, 1)
PLACES = st.tuples(st.integers(0, 2), st.sampled_from(PROVIDERS))
NUMBERS = st.integers(0, 99)
SELDOM = st.integers(0, 59).map(lambda number: number == 59)
NOW_AND_THEN = st.integers(0, 7).map(lambda number: number == 7)
"""For what takes seconds. Both shrink to not doing it."""
CHANGES = ("set", "replaced", "deleted", "reencrypted")
KEYS_URL = "/api/v1/sysadmin/encryption-keys"
TOLERATED_S = 5.0


class Machine(RuleBasedStateMachine):
    """The rules. world: set by a subclass."""

    world: ClassVar[World]

    def __init__(self) -> None:
        super().__init__()
        self.tenants = [str(UUID(int=self.world.chance.getrandbits(128), version=4)) for _ in range(3)]
        self.expected = Expectation()
        self.times: dict[Place, list[str]] = {}
        self.saved: tuple[Expectation, Any] | None = None
        self.world.provider.forget()
        for node in self.world.nodes:
            node.set_clock(0)

    def place(self, drawn: tuple[int, str]) -> Place:
        return self.tenants[drawn[0]], drawn[1]

    def client(self, number: int) -> Client:
        self.world.operations += 1
        client = self.world.nodes[number].client
        assert client is not None
        return client

    def is_off(self, number: int) -> bool:
        return abs(self.world.nodes[number].offset_s) > TOLERATED_S

    def sealing(self, number: int) -> str:
        return self.world.nodes[number].keys[0]

    def command(self, number: int, place: Place, key: str, **headers: str) -> httpx.Response:
        """Send a command. key: "" for a deletion."""
        request = f"request-{self.world.operations + 1}"
        send = self.client(number).http
        more = {"X-Request-ID": request, **{name.replace("_", "-"): text for name, text in headers.items()}}
        if key:
            return send.put(credential(*place), json={"api_key": key}, headers=more)
        return send.delete(credential(*place), headers=more)

    def changed(self, number: int, place: Place, key: str, answer: httpx.Response) -> bool:
        """Compare the answer to a command that is right, and note it; say whether it was carried out."""
        if not key and not self.expected.key(place):
            assert answer.status_code == HTTPStatus.NOT_FOUND, answer.text
            return False
        if self.is_off(number) and key != self.expected.key(place):
            assert answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE, f"by a node that is off: {answer.text}"
            return False
        if self.is_off(number) and answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE:
            return False
        assert answer.status_code == HTTPStatus.OK, answer.text
        request = answer.request.headers["X-Request-ID"]
        if key:
            self.expected.set(place, key, self.sealing(number), request)
        else:
            self.expected.delete(place, request)
        assert answer.headers["ETag"] == f'"v{self.expected.version(place)}"', answer.text
        return True

    def new_key(self) -> str:
        return f"sk-model-{self.world.chance.getrandbits(64):016x}"

    @rule(number=NODES, drawn=PLACES, idempotent=st.booleans())
    def set(self, number: int, drawn: tuple[int, str], idempotent: bool) -> None:
        self._sent(number, self.place(drawn), self.new_key(), idempotent=idempotent)

    @rule(number=NODES, drawn=PLACES, idempotent=st.booleans())
    def delete(self, number: int, drawn: tuple[int, str], idempotent: bool) -> None:
        self._sent(number, self.place(drawn), "", idempotent=idempotent)

    @rule(number=NODES, drawn=PLACES)
    def set_the_same(self, number: int, drawn: tuple[int, str]) -> None:
        place = self.place(drawn)
        key = self.expected.key(place) or self.new_key()
        self.changed(number, place, key, self.command(number, place, key))

    def _sent(self, number: int, place: Place, key: str, *, idempotent: bool) -> None:
        command_id = f"command-{self.world.chance.getrandbits(64):016x}"
        headers = {"Idempotency_Key": command_id} if idempotent else {}
        done = self.changed(number, place, key, self.command(number, place, key, **headers))
        if idempotent and done:
            self.expected.done.append(Done(place, key, command_id, self.expected.version(place)))

    @precondition(lambda self: self.expected.done)
    @rule(number=NODES, nth=NUMBERS)
    def repeat(self, number: int, nth: int) -> None:
        done = self.expected.done[nth % len(self.expected.done)]
        answer = self.command(number, done.place, done.key, Idempotency_Key=done.idempotency)
        if self.is_off(number) and answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE:
            return
        assert answer.status_code == HTTPStatus.OK, answer.text
        assert answer.headers["ETag"] == f'"v{done.version}"', "a repeated command is answered as the first time"

    @rule(number=NODES, drawn=PLACES, right=st.booleans())
    def set_if_match(self, number: int, drawn: tuple[int, str], right: bool) -> None:
        place, key = self.place(drawn), self.new_key()
        version = self.expected.version(place) + (0 if right else 1)
        answer = self.command(number, place, key, If_Match=f'"v{version}"')
        if right and self.expected.key(place):
            self.changed(number, place, key, answer)
        else:
            assert answer.status_code == HTTPStatus.PRECONDITION_FAILED, answer.text

    @rule(number=NODES, drawn=PLACES, native=st.booleans())
    def call(self, number: int, drawn: tuple[int, str], native: bool) -> None:
        (tenant, provider), client = self.place(drawn), self.client(number)
        body = {"model": MODELS[provider], "messages": [{"role": "user", "content": "hello"}]}
        if native:
            answer = client.native(tenant, provider, "v1/chat/completions", json=body)
        else:
            answer = client.chat(tenant, MODELS[provider])
        arrived = self.world.key_that_arrives(answer)
        wanted = self.expected.key((tenant, provider)) or GLOBAL_KEYS[provider]
        if self.is_off(number) and answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE:
            assert arrived == "store-unavailable"
            return
        assert arrived == wanted, f"wrong key: {arrived} arrived, not {wanted}; {answer.text}"

    @rule(number=NODES, drawn=PLACES)
    def look(self, number: int, drawn: tuple[int, str]) -> None:
        place = self.place(drawn)
        answer = self.client(number).http.get(credential(*place))
        key = self.expected.key(place)
        assert answer.status_code == (HTTPStatus.OK if key else HTTPStatus.NOT_FOUND), answer.text
        if key:
            shown = answer.json()
            assert (shown["version"], shown["masked_key"]) == (self.expected.version(place), f"...{key[-4:]}")

    @rule(number=NODES, drawn=PLACES)
    def history(self, number: int, drawn: tuple[int, str]) -> None:
        place = self.place(drawn)
        params = {"tenant_id": place[0], "provider": place[1], "limit": "1000"}
        answer = self.client(number).http.get("/api/v1/audit/entries", params=params)
        if self.is_off(number) and answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE:
            return  # a read that cannot be recorded is refused
        assert answer.status_code == HTTPStatus.OK, answer.text
        entries = sorted(
            (one for one in answer.json()["entries"] if one["action"] in CHANGES), key=lambda one: one["position"]
        )
        shown = [(one["action"], one["version"]) for one in entries]
        assert shown == [(one.action, nth) for nth, one in enumerate(self.expected.of(place), 1)]
        requests = [
            (one["request_id"], version.request) for one, version in zip(entries, self.expected.of(place), strict=True)
        ]
        assert all(not wanted or found == wanted for found, wanted in requests), requests
        self.times[place] = [one["timestamp"] for one in entries]
        assert self.times[place] == sorted(self.times[place])

    @rule(number=NODES, drawn=PLACES, nth=NUMBERS)
    def as_of(self, number: int, drawn: tuple[int, str], nth: int) -> None:
        place = self.place(drawn)
        # Read again: an event since then may have the time of the last one, if the other node's clock was ahead.
        self.history(0, drawn)
        if not (times := self.times[place]):
            return
        time = times[nth % len(times)]
        count = sum(one <= time for one in times)
        url = f"/api/v1/sysadmin/tenants/{place[0]}/credentials"
        answer = self.client(number).http.get(url, params={"as_of": time})
        if self.is_off(number) and answer.status_code == HTTPStatus.UNPROCESSABLE_ENTITY:
            return  # for a clock that is behind it is in the future
        assert answer.status_code == HTTPStatus.OK, answer.text
        shown = [one["version"] for one in answer.json()["credentials"] if one["provider"] == place[1]]
        version = self.expected.live_version_at(place, count)
        assert shown == ([] if version is None else [version]), f"{shown} was not in effect at {time}: {version} was"

    @rule(number=NODES, really=SELDOM)
    def kill(self, number: int, really: bool) -> None:
        if really:
            self.world.operations += 1
            self.world.restart(number, killed=True)

    @rule(number=NODES, drawn=PLACES, really=SELDOM, after_ms=st.integers(0, 30))
    def kill_amid_a_set(self, number: int, drawn: tuple[int, str], really: bool, after_ms: int) -> None:
        """The outcome is unknown, so the command is repeated, on the other node."""
        if not really or self.is_off(0) or self.is_off(1):
            return
        place, key, service = self.place(drawn), self.new_key(), self.world.nodes[number].service
        assert service is not None
        name = key.removeprefix("sk-")  # no stored text may hold a key
        headers = {"Idempotency-Key": f"command-{name}", "X-Request-ID": f"request-{name}"}

        def send(client: Client) -> httpx.Response:
            return client.http.put(credential(*place), json={"api_key": key}, headers=headers)

        killing = threading.Timer(after_ms / 1000, partial(self.world.restart, number, killed=True))
        with client_of(service.url) as client:
            killing.start()
            with suppress(httpx.TransportError):
                send(client)
        killing.join()
        self.changed(1 - number, place, key, send(self.client(1 - number)))

    @rule(seconds=st.sampled_from((0.0, 1.0, -1.0, 3600.0, -3600.0)))
    def set_clock(self, seconds: float) -> None:
        self.world.nodes[1].set_clock(seconds)

    @rule(really=SELDOM, further=NOW_AND_THEN)
    def rotate(self, really: bool, further: bool) -> None:
        """Begin a rotation, or do its next step: first the nodes learn the key one by one, then seal with it."""
        if not (further if self.world.key_steps else really) or self.is_off(1):
            return
        self.world.operations += 1
        steps = self.world.key_steps
        if not steps:
            old, new = self.world.keys[-1], new_encryption_key(self.world.chance)
            self.world.keys.append(new)
            steps += [
                (0, [old, new]),
                (1, [old, new]),
                (0, [new, old]),
                (1, [new, old]),
                (None, []),
                (0, [new]),
                (1, [new]),
            ]
        number, keys = steps.pop(0)
        if number is not None:
            self.world.restart(number, keys)
            return
        begun = self.client(0).http.post(f"{KEYS_URL}/rotations")
        assert begun.status_code == HTTPStatus.ACCEPTED, begun.text
        while (state := self.client(0).http.get(begun.headers["Location"]).json()["state"]) == "running":
            pass
        assert state == "completed"
        self.expected.rotate(self.world.keys[-1])
        if self.saved is not None:
            self.saved = None  # it needs keys that the nodes are about to forget

    @precondition(lambda self: self.saved is None)
    @rule(really=SELDOM)
    def back_up(self, really: bool) -> None:
        if really and not self.world.key_steps:
            self.world.operations += 1
            file = self.world.folder / f"backup-{self.world.operations}"
            assert not (wrong := self.world.command("backup", str(file))), wrong
            self.saved = self.expected.copy(), file

    @precondition(lambda self: self.saved is not None)
    @rule(really=NOW_AND_THEN)
    def restore(self, really: bool) -> None:
        if really and self.saved is not None and not self.world.key_steps:
            self.world.operations += 1
            (self.expected, file), self.saved, self.times = self.saved, None, {}
            assert not (wrong := self.world.replace_by(file)), wrong
            file.unlink()

    def teardown(self) -> None:
        for node in self.world.nodes:
            node.set_clock(0)
