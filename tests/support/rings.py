"""Two encryption keys in the rings that a rotation goes through, and credentials to rotate."""

from datetime import UTC, datetime
from hashlib import sha256
from uuid import UUID, uuid4

from domain.credentials.commands import SetCredential
from domain.credentials.credential import CredentialEvent, decide, evolve, stream_id
from domain.credentials.providers import CredentialConfig
from domain.credentials.secret import Secret
from domain.events.event import CommandMeta
from keyledger.encryption.key_introduction import introduce_keys
from keyledger.encryption.key_retirement import Retirer
from keyledger.encryption.keyring import Keyring
from keyledger.encryption.removable_keys import KeyStatuses
from keyledger.encryption.rotation import Rotator
from keyledger.encryption.rotation_rows import RotationRows
from keyledger.encryption.rotation_service import KeyWork, RotationService
from tests.support.store import ENCRYPTION_KEY, OTHER_ENCRYPTION_KEY, Store, open_store


def fingerprint(secret: Secret) -> str:
    """Return a fingerprint without a ledger: rings are shared by tests, ledgers are not."""
    return "f" + sha256(secret.reveal().encode()).hexdigest()[:16]


OLD = Keyring(ENCRYPTION_KEY, fingerprint=fingerprint)
BOTH = Keyring(OTHER_ENCRYPTION_KEY, [ENCRYPTION_KEY], fingerprint)
NEW = Keyring(OTHER_ENCRYPTION_KEY, fingerprint=fingerprint)


def now() -> datetime:
    return datetime.now(UTC)


def meta(command_id: str = "", *, may_repeat: bool = False) -> CommandMeta:
    return CommandMeta("olga", "req-keys", command_id or str(uuid4()), may_repeat)


def tenants(count: int) -> list[str]:
    return [str(UUID(int=number, version=4)) for number in range(1, count + 1)]


def set_all(store: Store, everyone: list[str], key: str, ring: Keyring = OLD) -> None:
    """Set the openai credential of every tenant to `key` and its own id, in few transactions."""
    for start in range(0, len(everyone), 500):
        events: list[CredentialEvent] = []
        for tenant in everyone[start : start + 500]:
            last = store.log.last(stream_id(tenant, "openai"))
            command = SetCredential(tenant, "openai", Secret(f"{key}-{tenant}"), CredentialConfig(), meta())
            events += decide(evolve(last) if last else None, command, now(), ring)
        store.log.append(events)


def fill(database_url: str, count: int) -> None:
    """Credentials under the old key, which a service introduced."""
    with open_store(database_url, OLD) as store:
        introduce_keys(store.log, OLD, CommandMeta("service", "req-start", str(uuid4())), now)
        set_all(store, tenants(count), "sk-first")


def under_keys(store: Store) -> dict[str, int]:
    with store.superuser() as database:
        rows = database.execute(
            "SELECT key_id, count(*) AS n FROM current_credentials WHERE token IS NOT NULL GROUP BY key_id"
        ).fetchall()
    return {row["key_id"]: row["n"] for row in rows}


def statuses(store: Store, ring: Keyring = BOTH) -> KeyStatuses:
    return KeyStatuses(store.pool, store.log, ring, store.follower)


def rotator(store: Store, ring: Keyring = BOTH) -> Rotator:
    return Rotator(store.pool, store.log, ring, now)


def retirer(store: Store, ring: Keyring = BOTH) -> Retirer:
    return Retirer(store.url, store.pool, store.log, NEW, statuses(store, ring), now)


def rotations(store: Store, ring: Keyring = BOTH) -> RotationService:
    work = KeyWork(statuses(store, ring), rotator(store, ring), retirer(store, ring))
    return RotationService(lambda: work, RotationRows(store.pool), store.log)


def rotate(store: Store, ring: Keyring = BOTH) -> None:
    """Rotate to the end, as a service whose keys are introduced does."""
    introduce_keys(store.log, ring, meta(), now)
    one, by = rotator(store, ring), meta()
    one.run(one.begin(by), by, lambda progress: True)
