"""A store that does not answer is an outage for every reader and writer."""

from domain.approvals.listed import ProposalFilter
from domain.audit.entries import AuditFilter
from domain.audit.usage import UsageFilter, UsagePlace, UsageRecord
from domain.credentials.credential import stream_id
from domain.credentials.fleet import CredentialPlace, FleetFilter
from domain.errors import StoreUnavailableError
from tests.contracts.ledgers import BEGIN, Ledger
from tests.support.scenario import TENANT, was_set

STREAM, PLACE = stream_id(TENANT, "openai"), CredentialPlace(TENANT, "openai")
RECORD = UsageRecord(UsagePlace(BEGIN, TENANT, "openai", 1), 1, 0, BEGIN)

CALLS = {
    "log.last": lambda on: on.log.last(STREAM),
    "log.newest": lambda on: on.log.newest([STREAM]),
    "log.find_all": lambda on: on.log.find_all([(STREAM, "c-1")]),
    "log.stream": lambda on: on.log.stream(STREAM),
    "log.append": lambda on: on.log.append([was_set(1)]),
    "log.confirm": lambda on: on.log.confirm([]),
    "credentials.read": lambda on: on.credentials.read(*PLACE),
    "credentials.read_all": lambda on: on.credentials.read_all([PLACE]),
    "credentials.of_tenant": lambda on: on.credentials.of_tenant(TENANT),
    "trail.page": lambda on: on.trail.page(AuditFilter()),
    "usage.page": lambda on: on.usage.page(UsageFilter()),
    "usage.add": lambda on: on.usage.add([RECORD]),
    "fleet.places": lambda on: on.fleet.places(FleetFilter(), None, 1),
    "fleet.of_tenants": lambda on: on.fleet.of_tenants(None, 1),
    "fleet.lodged": lambda on: on.fleet.lodged([PLACE]),
    "proposals.page": lambda on: on.proposals.page(ProposalFilter()),
    "past.of_tenant": lambda on: on.past.of_tenant(TENANT, BEGIN),
    "proofs.checkpoint": lambda on: on.proofs.checkpoint(),
    "proofs.inclusion": lambda on: on.proofs.inclusion(1, None),
    "proofs.consistency": lambda on: on.proofs.consistency(0, None),
}


def test_every_call_says_that_the_store_is_unavailable(ledger: Ledger) -> None:
    ledger.fall_silent()
    answered = []
    for name, call in CALLS.items():
        try:
            call(ledger)
        except StoreUnavailableError:
            continue
        answered.append(name)
    assert answered == []
