"""A service that runs is known with its keys; one that ended is not."""

import asyncio
import logging

import pytest

from domain.errors import StoreUnavailableError
from domain.operations.encryption_keys import KEYRING_STREAM, EncryptionKeyIntroduced, replay
from keyledger.encryption import heartbeat
from keyledger.encryption.heartbeat import Heartbeat
from keyledger.encryption.keyring import Keyring
from keyledger.encryption.nodes import Presence, live_nodes, running_nodes
from tests.support.rings import BOTH, NEW, OLD
from tests.support.service import environment, served
from tests.support.store import OTHER_ENCRYPTION_KEY, Store, open_store


def test_a_service_is_known_with_its_keys_while_it_serves_and_gone_afterwards(database_url: str) -> None:
    settings = environment(ENCRYPTION_KEY_PREVIOUS=OTHER_ENCRYPTION_KEY.reveal())
    with open_store(database_url) as store:
        with served(database_url, settings), served(database_url, settings):
            nodes = live_nodes(store.pool, BOTH)
            assert [(node.primary_id, node.key_ids) for node in nodes] == [(OLD.primary_id, BOTH.key_ids)] * 2
        assert live_nodes(store.pool, BOTH) == []
        introduced = store.log.stream(KEYRING_STREAM)
    assert [(event.actor, event.key_id) for event in introduced if isinstance(event, EncryptionKeyIntroduced)] == [
        ("service", NEW.primary_id),
        ("service", OLD.primary_id),
    ]


def test_a_service_without_the_feature_is_known_but_has_no_keys_to_tell_of(database_url: str) -> None:
    with open_store(database_url) as store, served(database_url, environment(TENANT_CREDENTIALS_ENABLED="false")):
        assert live_nodes(store.pool, BOTH) == []
        assert [node.key_ids for node in running_nodes(store.pool, BOTH)] == [frozenset()]
        assert replay(store.log.stream(KEYRING_STREAM)).introduced == {}


class Faltering(Presence):
    """Fails at its first beats, and tells when it has done enough."""

    failures = 3
    beats = 0
    error: Exception = StoreUnavailableError()

    def beat(self, keyring: Keyring | None) -> None:
        self.beats += 1
        if self.beats <= self.failures:
            raise self.error
        super().beat(keyring)


@pytest.mark.parametrize(
    ("error", "cause"),
    [(StoreUnavailableError(), "store-unavailable"), (NotImplementedError("of the driver"), "NotImplementedError")],
    ids=["an outage", "an answer that the driver cannot read"],
)
def test_a_heart_that_faltered_says_so_once_and_beats_on(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception, cause: str
) -> None:
    monkeypatch.setattr(heartbeat, "BEAT_S", 0)
    presence = Faltering(store.pool)
    presence.error = error

    async def live() -> None:
        heart = Heartbeat(lambda: presence.beat(OLD), presence.leave)
        await heart.start()
        while not await asyncio.to_thread(live_nodes, store.pool, BOTH):
            pass
        await heart.stop()

    with caplog.at_level(logging.WARNING, "keyledger.encryption.nodes"):
        asyncio.run(live())
    assert presence.beats > presence.failures
    assert [record.getMessage() for record in caplog.records] == [f"this node cannot renew its registration: {cause}"]
    assert live_nodes(store.pool, BOTH) == []
