"""The proposals of a service, with the checks that their effects go through once more, and their upkeep."""

import logging

from domain.approvals.expiry import ProposalExpiry
from domain.approvals.listed import ProposalRules
from domain.approvals.service import Proposals
from domain.approvals.still_allowed import StillAllowed
from domain.errors import ConflictError
from domain.events.event import Event
from domain.operations.encryption_keys import EncryptionKeyRetired, key_not_retirable
from keyledger.assembly.command_meta import service_meta
from keyledger.assembly.service.lasting import Lasting
from keyledger.encryption.key_retirement import Retirer
from keyledger.log.periodic_task import PeriodicTask, run_or_log
from projections.proposals import PostgresProposals

PAUSE_S = 60.0
_log = logging.getLogger("keyledger.approvals")


def proposals_of(lasting: Lasting, rules: ProposalRules, retirer: Retirer | None) -> Proposals:
    """Return the proposals of a configuration. retirer: None in a service without encryption keys."""
    allowed = StillAllowed(lasting.log, lasting.clock)

    def recheck(event: Event) -> None:
        allowed(event)
        if isinstance(event, EncryptionKeyRetired):
            if retirer is None:
                raise _no_keys()
            retirer.require_retirable(event)

    return Proposals(lasting.log, _listed(lasting), lasting.clock, rules, recheck)


class ProposalUpkeep:
    """Records once a minute which proposals lapsed because their time is over. A failure is logged and tried again."""

    def __init__(self, lasting: Lasting) -> None:
        self._expiry = ProposalExpiry(lasting.log, _listed(lasting), lasting.clock, service_meta)
        self._task = PeriodicTask(self._run_or_log, PAUSE_S, "proposals", pause_first=True)

    async def start(self) -> None:
        """Start the task on the running event loop."""
        self._task.start()

    async def stop(self) -> None:
        """Stop the task."""
        await self._task.stop()

    def _run_or_log(self) -> None:
        run_or_log(self._expiry.run, _log, "proposals whose time is over could not be recorded")


def _listed(lasting: Lasting) -> PostgresProposals:
    return PostgresProposals(lasting.pool, lasting.follower, lambda: lasting.log.codes, lasting.people.reader)


def _no_keys() -> ConflictError:
    return key_not_retirable(["this service has no encryption key: tenant credentials are off"])
