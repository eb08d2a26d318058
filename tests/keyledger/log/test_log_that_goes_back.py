"""A log that goes back for one credential, with everything else as it was, changes no call of a running service."""

import asyncio
from collections.abc import Callable, Iterator

import pytest

from domain.credentials.resolution import GlobalCredential, ResolutionPolicy, Resolver
from domain.credentials.secret import Secret
from domain.errors import CredentialIntegrityError
from domain.events.event import utc_now
from keyledger.log.event_codes.attestation import Attesting, read_codes
from projections.credentials.current_credentials import PostgresResolutionProjection
from projections.database.connections import Connection
from projections.database.pipelines import Pipelines
from tests.keyledger.log.test_codes_in_the_log import FIRST, META, TENANT
from tests.support.store import Store, open_store
from tests.support.tenants import tenant_reader


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    with open_store(database_url) as opened:
        opened.set(TENANT, "openai", "sk-leaked-0123456789")
        with opened.superuser() as database:
            database.execute("CREATE TABLE former AS SELECT * FROM current_credentials")
        opened.set(TENANT, "openai", "sk-live-0123456789")
        opened.set(TENANT, "mistral", "sk-live-0123456789")
        Attesting(opened.pool, opened.log, utc_now, lost_keys=False)(META)
        yield opened


def set_back(database: Connection) -> None:
    database.execute("DELETE FROM keyledger_events WHERE notification_id = 2")
    database.execute("DELETE FROM current_credentials WHERE provider = 'openai'")
    database.execute("INSERT INTO current_credentials SELECT * FROM former")


def forget(database: Connection) -> None:
    database.execute("DELETE FROM keyledger_events WHERE notification_id IN (1, 2)")
    database.execute("DELETE FROM current_credentials WHERE provider = 'openai'")


def make_a_deletion(database: Connection) -> None:
    """Change an attested event into a deletion, under a key that may have been retired."""
    database.execute(
        "UPDATE keyledger_events SET topic = 'CredentialDeleted', code_key_id = 'k0000000000', code = %s"
        " WHERE notification_id = 2",
        [bytes(32)],
    )
    database.execute(
        "UPDATE current_credentials SET token = NULL, binding = NULL, key_id = NULL, masked_key = NULL, set_at = NULL"
        " WHERE provider = 'openai'"
    )


@pytest.mark.parametrize("change", [set_back, forget, make_a_deletion])
def test_a_credential_that_was_used_is_used_as_it_is_or_not_at_all(
    store: Store, change: Callable[[Connection], None]
) -> None:
    async def calls() -> None:
        policy = ResolutionPolicy(True, True, {"openai": GlobalCredential(Secret("sk-global-0123456789"))})
        codes = read_codes(store.pool, FIRST.code_keys)
        async with Pipelines(store.url) as pipelines:
            resolver = Resolver(
                PostgresResolutionProjection(pipelines), FIRST, policy, tenant_reader(lambda: codes), lambda: codes
            )
            first = await resolver.resolve(TENANT, "openai", tenant_capable=True)
            assert first.secret.reveal() == "sk-live-0123456789"
            with store.superuser() as database:
                database.execute("ALTER TABLE keyledger_events DISABLE TRIGGER ALL")
                change(database)
            with pytest.raises(CredentialIntegrityError, match="log-went-back"):
                await resolver.resolve(TENANT, "openai", tenant_capable=True)

    asyncio.run(calls())
