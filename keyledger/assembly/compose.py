"""The composition root: the one place that knows which part implements which contract.

Promises: no part reads the environment itself. Once `service_from_environment` has read it, provider keys, encryption
keys and passwords are taken from it, so that no library loaded later can use them.
"""

from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from fastapi import FastAPI

from api.app import create_app
from api.front.node_registry import NodeRegistry
from domain.errors import ServiceError
from keyledger.assembly.checks.database_check import connections_admitted, prepare_database, require_readable_events
from keyledger.assembly.checks.same_ledger import require_peers_agree, require_same_log
from keyledger.assembly.checks.start_checks import require_own_packages
from keyledger.assembly.configuration import configuration_of, secret_keys_of
from keyledger.assembly.open_ledger import admin_address, database_of, role_rule, supervision_of
from keyledger.assembly.service.admission import admit, record, require_keys_of
from keyledger.assembly.service.approvals import ProposalUpkeep
from keyledger.assembly.service.in_force import Steering
from keyledger.assembly.service.lasting import Lasting
from keyledger.assembly.service.lasting_parts import open_lasting
from keyledger.assembly.service.parts import Parts
from keyledger.assembly.service.reloading import Reloader
from keyledger.assembly.service.request_services import RequestServices, reload_node
from keyledger.assembly.service.service_parts import (
    ServiceParts,
    call_parts,
    encryption_parts,
    log_parts,
    privacy_part,
    projection_parts,
    proof_parts,
    signer_of,
)
from keyledger.assembly.service.siblings import Siblings
from keyledger.encryption.form_agreement import agree_on_form
from keyledger.encryption.key_agreement import require_agreement
from keyledger.encryption.nodes import Presence
from keyledger.llm import Gateway, cleanse
from keyledger.log.anchors.places import anchor_places
from keyledger.log.event_codes.attestation import read_codes
from keyledger.privacy.upkeep import PrivacyUpkeep
from keyledger.settings import logs
from keyledger.settings.settings import Settings, load
from keyledger.settings.start_environment import StartEnvironment
from keyledger.store_attestation.watch import StoreWatch


@dataclass(frozen=True, slots=True)
class Service:
    """A service that was built. `prepare` it, serve `app`, `close` it.

    A caller that uses `models` without serving `app` starts and stops `parts` itself.
    """

    app: FastAPI
    models: Gateway
    parts: Parts
    reloader: Reloader
    registry: NodeRegistry
    _steering: Steering
    _lasting: Lasting
    _store: StoreWatch
    _privacy: PrivacyUpkeep
    _resources: ExitStack

    @property
    def connections_admitted(self) -> int:
        """How many connections the database server admits in all. Raises StoreUnavailableError."""
        return connections_admitted(self._lasting.pool)

    def prepare(self) -> None:
        """Migrate the database, check what must hold before a start, and record keys that are new to the log.

        From then on this is a node among the others, until it is closed. Raises StartError, StoreUnavailableError.
        """
        pool = self._lasting.pool
        require_own_packages()
        settings = self._steering().configuration.settings
        database = settings.database
        admin_dsn = admin_address(database, self._lasting.dsn)
        found = prepare_database(self._lasting.dsn, admin_dsn, role=role_rule(database))
        self._store.begin_with(found.findings)
        require_same_log(pool, anchor_places(settings.data_dir, settings.anchor_dir))
        require_peers_agree(pool, self._lasting.log, signer_of(settings))
        self._steering.seal_with_next()
        configuration = self._steering().configuration
        self._lasting.log.codes = read_codes(pool, configuration.code_keys)
        require_keys_of(pool, configuration, self._lasting.log.codes)
        if configuration.keyring is not None:
            require_agreement(self._lasting.presence, configuration.keyring)
            self._resources.callback(_leave, self._lasting.presence)
            agree_on_form(self._lasting.presence, configuration.keyring, self._lasting.log.forms)
            require_readable_events(pool)  # the others see this node by now
        record(self._lasting, configuration)
        self._privacy.run()

    def close(self) -> None:
        """Close what was opened for the service, the last first."""
        self._resources.close()


def build(
    settings: Settings,
    dsn: str,
    resources: ExitStack | None = None,
    read_again: Callable[[], Settings] | None = None,
    siblings: Siblings | None = None,
) -> Service:
    """Put the parts together. Opens a connection pool; raises SettingsError for an invalid model file.

    resources: closed with the service. read_again: returns the settings as they are now, for a reload.
    siblings: the other processes of this node; None where there are none.
    """
    configuration = configuration_of(settings)
    registry = NodeRegistry() if siblings is None else NodeRegistry(siblings.reports, siblings.share)
    counts = siblings.counts if siblings is not None else None
    lasting = open_lasting(dsn, secret_keys_of(settings), counts)
    log, projections = log_parts(lasting, settings), projection_parts(lasting, settings)
    calls = call_parts(lasting, lambda: steering(), registry)  # noqa: PLW0108  it is bound below
    steering = Steering(lasting, configuration, calls.gateway.warming.look_again)
    built = ServiceParts(
        lasting,
        log,
        projections,
        proof_parts(lasting, log, projections, settings, registry),
        calls,
        encryption_parts(lasting, steering),
        privacy_part(lasting, settings, steering),
        ProposalUpkeep(lasting),
        supervision_of(dsn, settings.data_dir),
    )
    parts = built.in_order()
    reloader = Reloader(steering.change, read_again or (lambda: settings), partial(admit, lasting), steering.beat)
    reload = partial(reload_node, reloader, siblings.reload if siblings is not None else None)
    closing = resources or ExitStack()
    closing.callback(lasting.close)
    app = create_app(RequestServices(built, steering, parts, reload, registry), counts=counts)
    return Service(app, calls.gateway, parts, reloader, registry, steering, lasting, log.store, built.privacy, closing)


def _leave(presence: Presence) -> None:
    with suppress(ServiceError):  # a node that cannot say so is forgotten soon
        presence.leave()


def service_from_environment(
    environment: StartEnvironment, dotenv: Path | None, siblings: Siblings | None = None
) -> Service:
    """Return the service that the environment and a `.env` file describe, prepared.

    siblings: the other processes of this node; None where there are none.
    Raises SettingsError, StartError and StoreUnavailableError.
    """
    settings = load(environment, dotenv)
    cleanse(environment)
    logs.configure(settings.log_level, settings.log_format)
    with ExitStack() as opened:
        dsn = database_of(settings.database, opened)
        service = build(settings, dsn, opened, lambda: load(environment, dotenv), siblings)
        service.prepare()
        return replace(service, _resources=opened.pop_all())
