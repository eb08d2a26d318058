"""A commit that no standby confirmed is never acknowledged, whichever node is asked."""

from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from domain.credentials.commands import DeleteCredential, SetCredential
from domain.credentials.credential import stream_id
from domain.credentials.providers import CredentialConfig
from domain.credentials.secret import Secret
from domain.errors import CredentialNotFoundError, StoreUnavailableError
from domain.events.event import CommandMeta
from keyledger.log.anchors.anchor import AnchorFile
from keyledger.log.anchors.places import anchor_places
from keyledger.log.anchors.watch import AnchorWatch
from keyledger.log.decided_append import append_decided
from keyledger.proofs.checkpoint_file import CheckpointFile
from keyledger.proofs.signing_keys import LogSigner, generate_signing_key
from projections.database.migration import migrate
from tests.keyledger.proofs.test_checkpoint_signing import transparency
from tests.support.own_server import OwnServer, own_server
from tests.support.standby import ENDS, standby_away
from tests.support.store import Store, open_store

TENANT, OTHER = str(uuid4()), str(uuid4())


@pytest.fixture(scope="module")
def server() -> Iterator[OwnServer]:
    with own_server(fsync="off") as server:
        migrate(server.url())
        yield server


def put(key: str, command_id: str, tenant: str = TENANT) -> SetCredential:
    return SetCredential(
        tenant, "openai", Secret(key), CredentialConfig(), CommandMeta("anna", "req", command_id, may_repeat=True)
    )


def delete(command_id: str, tenant: str = TENANT) -> DeleteCredential:
    return DeleteCredential(tenant, "openai", CommandMeta("anna", "req", command_id, may_repeat=True))


@pytest.mark.parametrize("ends", ENDS)
def test_what_no_standby_confirmed_is_an_outage_for_every_caller_who_asks_again(server: OwnServer, ends: str) -> None:
    tenant, other = str(uuid4()), str(uuid4())
    changed, removed = put("sk-live-second-0002", f"{ends}-put", tenant), delete(f"{ends}-delete", other)
    with open_store(server.url()) as store, open_store(server.url()) as elsewhere:
        store.set(tenant, "openai", "sk-live-first-0001")
        store.set(other, "openai", "sk-live-first-0001")
        with standby_away(server, ends):
            for command in (changed, removed):
                with pytest.raises(StoreUnavailableError):
                    store.handle(command)
            assert _shows(store, tenant) == 2, "the commit is visible on this server"
            for node in (store, elsewhere):
                for again in (changed, removed, put("sk-live-second-0002", f"{ends}-same", tenant)):
                    with pytest.raises(StoreUnavailableError):
                        node.handle(again)
                with pytest.raises(StoreUnavailableError):
                    node.delete(other, "openai")
        assert store.handle(changed).version == 2
        assert elsewhere.handle(removed).version == 2
        with pytest.raises(CredentialNotFoundError):
            store.delete(other, "openai")


PARTS: dict[str, Callable[[Store], object]] = {
    "there is nothing to append": lambda store: append_decided(store.log, list),
    "what was read": lambda store: store.log.confirm(list(store.log.newest([stream_id(TENANT, "openai")]).values())),
}


@pytest.mark.parametrize("part", PARTS)
def test_a_read_is_believed_only_when_a_write_after_it_is_confirmed(server: OwnServer, part: str) -> None:
    with open_store(server.url()) as store:
        store.set(TENANT, "openai", f"sk-live-{part.replace(' ', '-')}")
        PARTS[part](store)
        with standby_away(server, "cancelled"), pytest.raises(StoreUnavailableError):
            PARTS[part](store)


def test_a_server_that_does_not_wait_for_its_disk_by_default_does_for_a_confirmation(server: OwnServer) -> None:
    server.run("ALTER ROLE owner SET synchronous_commit = off")
    try:
        with (
            open_store(server.url()) as store,
            standby_away(server, "cancelled"),
            pytest.raises(StoreUnavailableError),
        ):
            store.log.confirm([])
    finally:
        server.run("ALTER ROLE owner RESET synchronous_commit")


def test_the_anchor_and_the_checkpoint_follow_what_is_confirmed(server: OwnServer, tmp_path: Path) -> None:
    """A failover that loses nothing acknowledged then never looks like a log that went back."""
    with open_store(server.url()) as store:
        store.set(str(uuid4()), "openai", "sk-live-confirmed-0001")
        watch, places = AnchorWatch(store.pool, anchor_places(tmp_path, None)), AnchorFile(tmp_path)
        signing = transparency(store, tmp_path, LogSigner(generate_signing_key("log.test")))
        watch.record()
        signed, recorded = signing.checkpoint(), places.read()
        with standby_away(server, "cancelled"):
            with pytest.raises(StoreUnavailableError):
                store.set(str(uuid4()), "openai", "sk-live-unconfirmed-0002")
            for _ in range(2):
                watch.record()
                assert places.read() == recorded
                with pytest.raises(StoreUnavailableError):
                    signing.checkpoint()
                kept = CheckpointFile(tmp_path).read()
                assert kept is not None
                assert kept[1].size == signed.size
        watch.record()
        moved = places.read()
        assert moved is not None
        assert recorded is not None
        assert moved.position == recorded.position + 1 == signing.checkpoint().size


def _shows(store: Store, tenant: str) -> int:
    shown = store.view.read(tenant, "openai").shown
    assert shown is not None
    return shown.version
