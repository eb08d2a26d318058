"""Admits a configuration, at the start and at a reload: checks it against the log and the other nodes, and records it.

Promises: no credential is sealed with a key before the log has that key; no node seals with a key that another running
node does not have.
Refuses: keys that live credentials need and the configuration lacks; keys that disagree with those of another node.
"""

from collections.abc import Sequence

from psycopg_pool import ConnectionPool

from domain.events.event_code import EventCodes
from keyledger.assembly.checks.start_checks import missing_keys, require_keys, unproved_by_key
from keyledger.assembly.command_meta import service_meta
from keyledger.assembly.configuration import Configuration, secret_keys_of
from keyledger.assembly.service.in_force import sealing_with_next
from keyledger.assembly.service.lasting import Lasting
from keyledger.encryption.key_agreement import disagreements
from keyledger.encryption.key_introduction import introduce_keys
from keyledger.encryption.keyring import Keyring
from keyledger.encryption.nodes import Node
from keyledger.log.event_codes.attestation import Attesting, attest_first, attest_signed
from keyledger.log.recorders.policy_recorder import record_approvals, record_policy
from keyledger.start_error import StartError
from projections.database.connections import BoundedConnection


def admit(lasting: Lasting, configuration: Configuration) -> Configuration:
    """Return a configuration as it may replace the present one, after recording its policy and keys where they are new.

    Raises StartError, StoreUnavailableError.
    """
    others = lasting.presence.others(configuration.keyring)
    admitted = sealing_with_next(configuration, others)
    require_keys_of(lasting.pool, admitted, lasting.log.codes.with_keys(admitted.code_keys))
    _require_agreed(others, admitted)
    record(lasting, admitted)
    # Another node may have started, or started to seal, since: nothing that can fail comes after this.
    if admitted.keyring is not None:
        lasting.presence.settle(admitted.keyring, lambda others: _require_agreed(others, admitted))
    return admitted


def require_keys_of(pool: ConnectionPool[BoundedConnection], configuration: Configuration, codes: EventCodes) -> None:
    """Raise StartError when live credentials need keys that the configuration lacks. Raises StoreUnavailableError."""
    settings = configuration.settings
    if settings.policy.tenant_credentials:
        require_keys(pool, configuration.keyring, codes, allow_unreadable=settings.allow_unreadable)


def lost_keys(pool: ConnectionPool[BoundedConnection], configuration: Configuration, codes: EventCodes) -> set[str]:
    """Return the ids of keys that the log needs and that are not recorded as lost. Raises StoreUnavailableError."""
    return {*missing_keys(pool, configuration.keyring), *unproved_by_key(pool, codes)} - codes.lost


def record(lasting: Lasting, configuration: Configuration) -> None:
    """Attest what is in the log from before its first key, or its first encryption key; record what the log lacks.

    That is lost keys, policy and keys.

    Raises StartError where none of the keys opens the ledger's own secret, StoreUnavailableError,
    CredentialIntegrityError.
    """
    pool, log, clock = lasting.pool, lasting.log, lasting.clock
    meta = service_meta()
    attest_first(pool, log, meta, clock)
    attest_signed(pool, log, meta, clock)
    if configuration.settings.allow_unreadable and lost_keys(pool, configuration, log.codes):
        Attesting(pool, log, clock, lost_keys=True)(meta)
    record_policy(log, configuration.settings.policy, meta, clock)
    record_approvals(log, configuration.settings.approvals.named, meta, clock)
    if configuration.keyring is not None:
        introduce_keys(log, configuration.keyring, meta, clock)
    lasting.people.secret.keep(secret_keys_of(configuration.settings), log, meta, clock)


def _require_agreed(others: Sequence[Node], configuration: Configuration) -> Keyring | None:
    ring = configuration.keyring
    if ring is not None and (found := disagreements(others, ring)):
        raise StartError(
            f"{'; '.join(found)}. Configure a key as ENCRYPTION_KEY_NEXT on every node before any node seals with it"
        )
    return ring
