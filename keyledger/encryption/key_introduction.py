"""Logs the encryption keys that a service starts with, so that auditors see when each was introduced.

Promises: each key is introduced once, however many services start at the same time.
"""

from domain.events.event import Clock, CommandMeta
from domain.events.event_log import StreamLog
from domain.operations.encryption_keys import KEYRING_STREAM, introduce, replay
from keyledger.encryption.keyring import Keyring
from keyledger.log.decided_append import append_decided


def introduce_keys(log: StreamLog, keyring: Keyring, meta: CommandMeta, clock: Clock) -> None:
    """Append an event for each key of the ring that the log has not seen.

    Raises StoreUnavailableError, VersionConflictError.
    """
    # The primary key last: the older keys came before it.
    ordered = sorted(keyring.key_ids, key=lambda key_id: (key_id == keyring.primary_id, key_id))
    append_decided(
        log, lambda: introduce(replay(log.stream(KEYRING_STREAM)), ordered, meta, clock(), keyring.primary_id)
    )
