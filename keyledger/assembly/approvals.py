"""The proposals of a service, with the checks that their effects go through once more."""

from domain.approvals.listed import ProposalRules
from domain.approvals.service import Proposals
from domain.approvals.still_allowed import StillAllowed
from domain.errors import ConflictError
from domain.event import Event
from domain.operations.encryption_keys import EncryptionKeyRetired, key_not_retirable
from keyledger.assembly.lasting import Lasting
from keyledger.encryption.key_retirement import Retirer
from projections.proposals import PostgresProposals


def proposals_of(lasting: Lasting, rules: ProposalRules, retirer: Retirer | None) -> Proposals:
    """Return the proposals of a configuration. retirer: None in a service without encryption keys."""
    allowed = StillAllowed(lasting.log, lasting.clock)

    def recheck(event: Event) -> None:
        allowed(event)
        if isinstance(event, EncryptionKeyRetired):
            if retirer is None:
                raise _no_keys()
            retirer.require_retirable(event)

    listed = PostgresProposals(lasting.pool, lasting.follower, lambda: lasting.log.codes, lasting.people.reader)
    return Proposals(lasting.log, listed, lasting.clock, rules, recheck)


def _no_keys() -> ConflictError:
    return key_not_retirable(["this service has no encryption key: tenant credentials are off"])
