"""The list of proposals: order, filters, pages, what can be read of whom, and who ends those whose time is over."""

from collections.abc import Sequence
from datetime import timedelta
from itertools import count

import pytest

from domain.approvals.expiry import ProposalExpiry
from domain.approvals.listed import ProposalFilter
from domain.approvals.proposal import ProposalLapsed, approve, reject
from domain.errors import VersionConflictError
from domain.events.event import SERVICE, CommandMeta, Event
from tests.contracts.ledgers import BEGIN, Ledger
from tests.support.scenario import OTHER_TENANT, TENANT


def kinds(page: tuple[Sequence[Sequence[Event]], int | None]) -> list[list[str]]:
    return [[event.TOPIC for event in events] for events in page[0]]


def expiry(ledger: Ledger, hours: float) -> ProposalExpiry:
    number = count()
    return ProposalExpiry(
        ledger.log,
        ledger.proposals,
        lambda: BEGIN + timedelta(hours=hours),
        lambda: CommandMeta("service", "req-s", f"lapse-{next(number)}", role=SERVICE, source="service"),
    )


def test_proposals_are_listed_in_their_order_with_their_first_and_newest_events(ledger: Ledger) -> None:
    assert ledger.proposals.page(ProposalFilter()) == ([], None)
    author = ledger.author
    first, second = author.propose(TENANT, "openai"), author.propose(OTHER_TENANT, "openai")
    author.set(TENANT, "mistral", "sk-two-0123456789")
    third = author.propose(TENANT, "vllm")
    author.decide_proposal(second, reject)
    found = ledger.proposals.page(ProposalFilter())
    assert kinds(found) == [["ProposalMade"], ["ProposalMade", "ProposalRejected"], ["ProposalMade"]]
    assert [events[0].originator_id for events in found[0]] == [one.originator_id for one in (first, second, third)]
    assert found[1] is None
    of_tenant, _ = ledger.proposals.page(ProposalFilter(tenant_id=TENANT))
    assert [events[0].originator_id for events in of_tenant] == [one.originator_id for one in (first, third)]


@pytest.mark.parametrize("limit", [1, 2, 3, 4])
def test_pages_have_each_proposal_once(ledger: Ledger, limit: int) -> None:
    made = [ledger.author.propose(TENANT, provider) for provider in ("openai", "vllm", "azure")]
    found: list[Event] = []
    after: int | None = 0
    while after is not None:
        page, after = ledger.proposals.page(ProposalFilter(after=after, limit=limit))
        found += [events[0] for events in page]
    assert [one.originator_id for one in found] == [one.originator_id for one in made]


def test_names_addresses_and_reasons_are_read_until_the_person_is_erased(ledger: Ledger) -> None:
    ledger.author.propose(TENANT, "openai", actor="anna", reason="left", client_address="192.0.2.7")
    ledger.author.propose(TENANT, "vllm", actor="zoe")
    ((mine,), (other,)) = ledger.proposals.page(ProposalFilter())[0]
    assert ledger.proposals.opened([mine, other]) == [
        {"actor": "anna", "reason": "left", "client_address": "192.0.2.7"},
        {"actor": "zoe"},
    ]
    ledger.erase("anna")
    gone, still = ledger.proposals.opened([mine, other])
    assert ("actor" in gone, still) == (False, {"actor": "zoe"})


def test_a_proposal_whose_time_is_over_lapses_once_and_decided_ones_stay(ledger: Ledger) -> None:
    late, approved = ledger.author.propose(TENANT, "openai"), ledger.author.propose(TENANT, "vllm")
    ledger.author.decide_proposal(approved, approve)
    ledger.author.now = BEGIN + timedelta(hours=1)
    ledger.author.propose(TENANT, "azure")
    first, second = expiry(ledger, 1.5), expiry(ledger, 1.5)
    for one in (first, second, first):
        one.run()
    page = ledger.proposals.page(ProposalFilter())
    assert kinds(page) == [["ProposalMade", "ProposalLapsed"], ["ProposalMade", "ProposalApproved"], ["ProposalMade"]]
    lapsed = ledger.log.stream(late.originator_id)[-1]
    assert isinstance(lapsed, ProposalLapsed)
    assert (lapsed.because, lapsed.role, len(ledger.log.stream(late.originator_id))) == ("expired", SERVICE, 2)
    expiry(ledger, 2).run()
    assert kinds(ledger.proposals.page(ProposalFilter()))[-1] == ["ProposalMade", "ProposalLapsed"]


def test_a_proposal_is_open_until_the_second_at_which_its_time_is_over(ledger: Ledger) -> None:
    ledger.author.propose(TENANT, "openai")
    expiry(ledger, 1 - 1 / 3600).run()
    assert kinds(ledger.proposals.page(ProposalFilter())) == [["ProposalMade"]]
    expiry(ledger, 1).run()
    assert kinds(ledger.proposals.page(ProposalFilter())) == [["ProposalMade", "ProposalLapsed"]]


def test_a_decision_that_comes_first_is_kept(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    made = ledger.author.propose(TENANT, "openai")
    append = ledger.log.append

    def after_a_decision(events: list[Event]) -> None:
        monkeypatch.undo()
        ledger.author.decide_proposal(made, reject)
        with pytest.raises(VersionConflictError):
            append(events)
        append(events)

    monkeypatch.setattr(ledger.log, "append", after_a_decision)
    expiry(ledger, 2).run()
    assert kinds(ledger.proposals.page(ProposalFilter())) == [["ProposalMade", "ProposalRejected"]]
