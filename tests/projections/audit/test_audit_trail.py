"""The audit trail: who did what and when, in the order of the log."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple
from datetime import timedelta

import pytest

from domain.audit.entries import Action, AuditEntry
from domain.credentials.commands import SetCredential
from domain.credentials.providers import CredentialConfig
from domain.credentials.secret import Secret
from domain.errors import CredentialIntegrityError
from domain.events.event import CommandMeta
from tests.support.checker import check
from tests.support.scenario import OTHER_TENANT, TENANT, was_deleted, was_set
from tests.support.store import Store

KEY = "sk-CANARY-0123456789xyz9"


def test_the_trail_knows_set_from_replaced(store: Store) -> None:
    store.set(TENANT, "openai", KEY)
    store.set(TENANT, "openai", KEY + "2")
    store.delete(TENANT, "openai")
    store.set(TENANT, "openai", KEY)
    entries = store.audit()
    assert [entry.action for entry in entries] == [Action("set"), Action("replaced"), Action("deleted"), Action("set")]
    assert [entry.position for entry in entries] == [1, 2, 3, 4]
    assert [entry.version for entry in entries] == [1, 2, 3, 4]
    assert [entry.masked_key for entry in entries] == ["...xyz9", "...yz92", None, "...xyz9"]


@pytest.mark.parametrize("split", range(5))
def test_actions_are_the_same_however_the_log_is_cut_into_batches(store: Store, split: int) -> None:
    events = [was_set(1), was_set(2), was_deleted(3), was_set(4)]
    if events[:split]:
        store.log.append(events[:split])
    store.audit()
    if events[split:]:
        store.log.append(events[split:])
    assert [entry.action.value for entry in store.audit()] == ["set", "replaced", "deleted", "set"]
    check(store)


def test_a_reader_sees_every_write_that_was_acknowledged(store: Store) -> None:
    for number in range(1, 6):
        store.set(TENANT, "openai", f"{KEY}{number}")
        assert len(store.audit()) == number


def test_no_entry_holds_a_secret_or_a_token(store: Store) -> None:
    store.set(TENANT, "openai", KEY)
    text = repr([astuple(entry) for entry in store.audit()])
    assert KEY not in text
    assert "enc:fernet" not in text


def test_readers_at_once_write_every_entry_once(store: Store) -> None:
    for number in range(30):
        store.set(TENANT, "openai", f"{KEY}{number}")
    with ThreadPoolExecutor(6) as readers:
        lengths = list(readers.map(lambda _: len(store.audit(limit=1000)), range(12)))
    assert lengths == [30] * 12
    check(store)


def test_filters_narrow_the_trail(store: Store) -> None:
    store.set(TENANT, "openai", KEY)
    store.set(TENANT, "mistral", KEY)
    store.set(OTHER_TENANT, "openai", KEY)
    first, second, third = store.audit()
    assert store.audit(tenant_id=TENANT) == [first, second]
    assert store.audit(provider="openai") == [first, third]
    assert store.audit(tenant_id=TENANT, provider="mistral") == [second]
    assert store.audit(actor="nobody") == []
    assert store.audit(since=second.timestamp) == [second, third]
    assert store.audit(until=second.timestamp) == [first]
    assert store.audit(since=third.timestamp + timedelta(microseconds=1)) == []
    assert store.audit(after=1, limit=1) == [second]


def test_a_reason_is_found_by_its_words_wherever_else_they_stand(store: Store) -> None:
    because = CommandMeta("anna", "req-1", "cmd-1", reason="Ticket 47_11 of openai")
    store.handle(SetCredential(TENANT, "openai", Secret(KEY), CredentialConfig(), because))
    store.set(TENANT, "mistral", KEY)
    first, _ = store.audit()
    assert store.audit(reason="ticket 47_11") == [first]
    assert store.audit(reason="ticket 47%11") == []
    assert store.audit(reason="mistral") == []


def test_an_event_that_is_not_understood_stops_the_trail_where_it_is(store: Store) -> None:
    store.set(TENANT, "openai", KEY)
    with store.superuser() as database:
        database.execute("INSERT INTO keyledger_events VALUES (gen_random_uuid(), 1, 'CredentialRenamed', '{}', 2)")
    store.set(TENANT, "mistral", KEY)
    for _ in range(2):
        with pytest.raises(CredentialIntegrityError, match="event-topic-unknown at position 2"):
            store.audit()
    assert store.follower.lag().position == 1


def test_a_position_that_was_moved_back_stops_the_trail_and_is_not_taken_for_an_outage(store: Store) -> None:
    for number in range(3):
        store.set(TENANT, "openai", f"{KEY}{number}")
    store.audit()
    with store.superuser() as database:
        database.execute("UPDATE projection_positions SET position = 1 WHERE projection = 'audit_trail'")
    with pytest.raises(CredentialIntegrityError, match="audit_trail-ahead-of position 1"):
        store.audit()


LOOKED_FOR: list[dict[str, object]] = [
    {},
    {"tenant_id": TENANT},
    {"provider": "mistral"},
    {"action": Action("deleted")},
    {"texts": ("mistral",)},
    {"texts": ("mistral",), "action": Action("set")},
    {"texts": ("nothing of the kind",)},
]


BOUNDS: list[dict[str, float]] = [
    {"SPAN": 1, "SPAN_MAX": 1, "WINDOW": 1, "WINDOW_MAX": 1, "BUDGET_S": 0},
    {"SPAN": 2, "SPAN_MAX": 4, "WINDOW": 2, "WINDOW_MAX": 3, "BUDGET_S": 0},
    {"SPAN": 5, "SPAN_MAX": 5, "WINDOW": 3, "WINDOW_MAX": 3, "BUDGET_S": 60},
]


@pytest.mark.parametrize("wanted", LOOKED_FOR, ids=lambda wanted: " ".join(wanted) or "everything")
@pytest.mark.parametrize("newest_first", [False, True], ids=["oldest first", "newest first"])
@pytest.mark.parametrize("bounds", BOUNDS, ids=lambda bounds: ", ".join(map(str, bounds.values())))
def test_pages_that_look_at_a_bounded_number_of_entries_find_the_same(
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    wanted: dict[str, object],
    newest_first: bool,
    bounds: dict[str, float],
) -> None:
    store.set(TENANT, "openai", KEY)
    for number in range(5):
        store.set(OTHER_TENANT, "mistral", f"{KEY}{number}")
    store.delete(OTHER_TENANT, "mistral")
    for number in range(5):
        store.set(TENANT, "openai", f"{KEY}{number}")
    whole = store.audit(newest_first=newest_first, **wanted)
    for name, bound in bounds.items():
        monkeypatch.setattr(f"projections.audit.search.{name}", bound)
    found: list[AuditEntry] = []
    following: int | None = None
    for _ in range(100):
        cursor = {} if following is None else {"before" if newest_first else "after": following}
        page = store.audit_page(newest_first=newest_first, limit=2, **wanted, **cursor)
        found += page.entries
        following = page.following
        if following is None:
            break
    assert found == whole


TEXTS = [
    pytest.param("mistral", id="a member in clear"),
    pytest.param("ANNA", id="a name"),
    pytest.param("ticket 47", id="words of a reason"),
    pytest.param("straße", id="other letters"),
    pytest.param("K", id="a letter that another becomes in lower case"),
    pytest.param("192.0.2", id="a part of an address"),
    pytest.param("https://llm.example/v1.5", id="a setting"),
    pytest.param('"endpoint": "https', id="a setting with its name"),
    pytest.param("set anna", id="words of two members"),
    pytest.param("f", id="a letter of a fingerprint"),
    pytest.param("%", id="a sign that SQL knows"),
    pytest.param("nothing of the kind", id="no member"),
]


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_is_found_in_every_member_that_contains_it_sealed_or_not(store: Store, text: str) -> None:
    reasons = ("Ticket 47_11", "an der Straße", "200 \N{KELVIN SIGN}", "100 %", None)
    for nth, reason in enumerate(reasons):
        actor = ("anna", "ops-1", "Kim")[nth % 3]
        meta = CommandMeta(actor, f"req-{nth}", f"cmd-{nth}", reason=reason, client_address=f"192.0.{nth}.7")
        config = CredentialConfig(endpoint="https://llm.example/v1.5") if nth % 2 else CredentialConfig()
        store.handle(SetCredential(TENANT, "vllm" if nth % 2 else "mistral", Secret(f"{KEY}{nth}"), config, meta))
    everything = store.audit()
    assert [one.position for one in store.audit(texts=(text,))] == [
        one.position for one in everything if one.contains(text)
    ]
