"""The configuration in force and the parts made for it; a reload replaces both.

Promises: these parts keep no state, so new ones can replace them at any time; a call ends with the parts it began with.
Parts that do keep state (`Lasting`) are shared by all configurations.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from api.front.auth import Authenticator, reserved_names
from api.front.people import People
from domain.access.service import AccessKeys, AccessRules
from domain.access.tenants import Tenants
from domain.approvals.service import Proposals
from domain.credentials.resolution import Resolver
from domain.credentials.service import CredentialService
from keyledger.assembly.configuration import Configuration, Current
from keyledger.assembly.open_ledger import admin_address
from keyledger.assembly.service.approvals import proposals_of
from keyledger.assembly.service.lasting import Lasting
from keyledger.assembly.service.sign_in import people_in_force
from keyledger.encryption.approval_agreement import agreed_approvals
from keyledger.encryption.form_agreement import agree_on_form
from keyledger.encryption.key_retirement import Retirer
from keyledger.encryption.keyring import Keyring
from keyledger.encryption.nodes import Node
from keyledger.encryption.reencryption_process import ReencryptionProcess
from keyledger.encryption.removable_keys import KeyStatuses
from keyledger.encryption.rotation import Rotator
from keyledger.encryption.rotation_service import KeyWork
from keyledger.identity.trusted_issuers import TrustedIssuers
from keyledger.llm import CallConfiguration
from keyledger.log.event_codes.attestation import Attesting
from keyledger.settings import logs
from projections.access_keys import PostgresAccessKeys
from projections.credentials.as_of import PostgresPastCredentials
from projections.credentials.current_credentials import PostgresCurrentCredentials, PostgresResolutionProjection
from projections.tenants import PostgresTenants


@dataclass(frozen=True, slots=True)
class InForce:
    """A configuration with the parts made for it. key_work: None while tenant credentials are off."""

    configuration: Configuration
    projection: PostgresResolutionProjection
    calls: CallConfiguration
    credentials: CredentialService
    past: PostgresPastCredentials
    authenticator: Authenticator
    identities: TrustedIssuers
    people: People
    access: AccessKeys
    tenants: Tenants
    proposals: Proposals
    key_work: KeyWork | None


def in_force(lasting: Lasting, configuration: Configuration) -> InForce:
    """Make the parts for a configuration."""
    settings, sealer = configuration.settings, configuration.sealer(lasting.people.fingerprint)
    projection = PostgresResolutionProjection(lasting.pipelines, settings.providers, lasting.lease.require)
    current = PostgresCurrentCredentials(lasting.pool, settings.providers)
    authenticator = Authenticator(settings.super_key, settings.named_keys)
    key_work = _key_work(lasting, configuration)
    return InForce(
        configuration,
        projection,
        CallConfiguration(
            configuration.catalogue,
            Resolver(projection, sealer, settings.policy, lasting.tenants, lambda: lasting.log.codes, lasting.seen),
            settings.endpoint_rules,
            settings.native_rules,
            configuration.prices,
        ),
        CredentialService(
            lasting.log,
            current,
            sealer,
            lasting.clock,
            registration_required=settings.policy.registration_required,
        ),
        PostgresPastCredentials(lasting.pool, sealer, settings.providers, lambda: lasting.log.codes),
        authenticator,
        TrustedIssuers(
            settings.identity.issuers,
            lambda issuer: lasting.issuer_keys.of(issuer, settings.endpoint_rules),
            lasting.clock,
        ),
        people_in_force(lasting, settings),
        _access(lasting, AccessRules(settings.access_key_max_age, reserved_names(authenticator))),
        Tenants(
            lasting.log,
            PostgresTenants(lasting.pool, lasting.tenants, lasting.people.reader),
            lasting.clock,
            settings.providers,
        ),
        proposals_of(lasting, settings.approvals, key_work.retirer if key_work is not None else None),
        key_work,
    )


def _access(lasting: Lasting, rules: AccessRules) -> AccessKeys:
    listed = PostgresAccessKeys(lasting.pool, lasting.callers.reader.key_of)
    return AccessKeys(lasting.log, listed, lasting.clock, rules)


def _key_work(lasting: Lasting, configuration: Configuration) -> KeyWork | None:
    keys = configuration.keys
    if configuration.keyring is None:
        return None
    ring = configuration.keyring.with_fingerprints(lasting.people.fingerprint)
    allowed = configuration.settings.allow_unreadable
    attesting = Attesting(lasting.pool, lasting.log, lasting.clock, lost_keys=allowed)
    sealing = ReencryptionProcess(lasting.dsn, keys[0], keys[1:])
    statuses = KeyStatuses(lasting.pool, lasting.log, ring, lasting.follower)
    admin = admin_address(configuration.settings.database, lasting.dsn)
    return KeyWork(
        statuses,
        Rotator(lasting.pool, lasting.log, ring, lasting.clock, sealing, attesting.or_say_why),
        Retirer(admin, lasting.pool, lasting.log, Keyring(keys[0]), statuses, lasting.clock, attesting),
    )


class Steering:
    """Holds and changes the configuration in force.

    changed: called after each change, from any thread.
    """

    def __init__(self, lasting: Lasting, configuration: Configuration, changed: Callable[[], None]) -> None:
        self._lasting = lasting
        self._changed = changed
        self._current = Current(in_force(lasting, configuration))
        self._require_approvals(configuration, [])

    def __call__(self) -> InForce:
        """Return what is in force."""
        return self._current()

    def change(self, decide: Callable[[Configuration], Configuration]) -> None:
        """Replace the configuration by what `decide` makes of it. When `decide` raises, nothing changes."""
        before = self._current().configuration

        def decided(now: InForce) -> InForce:
            configuration = decide(now.configuration)
            return now if configuration is now.configuration else in_force(self._lasting, configuration)

        self._current.change(decided)
        now = self._current().configuration
        self._lasting.log.codes = self._lasting.log.codes.with_keys(now.code_keys)
        self._lasting.log.approvals = frozenset(self._lasting.log.approvals) | now.settings.approvals.named
        _configure_logs(before, now)
        self._changed()

    def beat(self) -> None:
        """Start to seal with the next key, and to write the newest form of events, if every node knows it.

        The keys and the APPROVALS of this node are published, and those of the others obeyed.

        Raises StoreUnavailableError.
        """
        self.seal_with_next()
        self._current.change(self._told)  # under the lock: what is published is what is in force

    def _told(self, now: InForce) -> InForce:
        lasting, keyring = self._lasting, now.configuration.keyring
        lasting.presence.approvals = now.configuration.settings.approvals.named
        lasting.presence.beat(keyring)
        self._require_approvals(now.configuration, lasting.presence.others(keyring))
        agree_on_form(lasting.presence, keyring, lasting.log.forms)
        return now

    def _require_approvals(self, configuration: Configuration, others: Sequence[Node]) -> None:
        self._lasting.log.approvals = agreed_approvals(configuration.settings.approvals.named, others)

    def seal_with_next(self) -> None:
        """Start to seal with ENCRYPTION_KEY_NEXT if every other live node has it.

        Raises StoreUnavailableError.
        """
        if self._current().configuration.next_id is not None:
            self.change(self._sealing_with_next)

    def _sealing_with_next(self, now: Configuration) -> Configuration:
        """Return the configuration that seals with the next key, once that is published for nodes that start later."""
        decided = now

        def decide(others: Sequence[Node]) -> Keyring | None:
            nonlocal decided
            decided = sealing_with_next(now, others)
            return None if decided is now else decided.keyring

        if now.keyring is not None:
            self._lasting.presence.settle(now.keyring, decide)
        return decided


def sealing_with_next(configuration: Configuration, others: Sequence[Node]) -> Configuration:
    """Return the configuration sealing with its next key if all `others` have that key, else unchanged."""
    coming = configuration.next_id
    if coming is None or any(coming not in node.key_ids for node in others):
        return configuration
    return configuration.sealing_with_next()


def _configure_logs(before: Configuration, after: Configuration) -> None:
    was, now = before.settings, after.settings
    if (was.log_level, was.log_format) != (now.log_level, now.log_format):
        logs.configure(now.log_level, now.log_format)
