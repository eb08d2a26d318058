"""Sealed members are readable until a key is destroyed, and then by no one, while every proof still holds."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from domain.audit.entries import Action, AuditFilter
from domain.audit.personal_members import sealed_members_of
from domain.audit.request_events import Outcome, RefusedRequest, audit_read, request_refused
from domain.credentials.commands import DeleteCredential, SetCredential
from domain.credentials.credential import CredentialSet, stream_id
from domain.credentials.providers import CredentialConfig
from domain.credentials.secret import Secret
from domain.errors import CredentialIntegrityError
from domain.events.event import CommandMeta, utc_now
from domain.events.personal import Place, is_sealed, parse
from domain.operations.erasure import ERASURE_STREAM, PersonErased
from keyledger.encryption.personal_keys import Kind
from keyledger.privacy.erasure import Eraser
from keyledger.privacy.erasure_file import ErasureFile
from keyledger.privacy.report import report_on
from keyledger.store_verification.verification import verify_snapshot
from projections.audit.search import PostgresAuditTrail
from tests.support.canary import dump, leaks
from tests.support.checker import check
from tests.support.scenario import OTHER_TENANT, TENANT
from tests.support.store import Store, open_store

NAME, ADDRESS, REASON = "beatrix-of-the-night-shift", "203.0.113.77", "ticket 4711, the customer asked"
OPERATOR = CommandMeta("cli:otto", "req-op", "cmd-op", role="operator", source="cli", reason="asked by the person")
COMMANDS = iter(range(10_000))


def meta(actor: str = NAME, role: str = "sysadmin", **more: Any) -> CommandMeta:
    number = next(COMMANDS)
    about: dict[str, Any] = {"client_address": ADDRESS, "reason": REASON, **more}
    return CommandMeta(actor, f"req-{number}", f"cmd-{number}", role=role, source="api", **about)


def service_meta() -> CommandMeta:
    number = next(COMMANDS)
    return CommandMeta("service", f"req-{number}", f"cmd-{number}", role="service", source="service")


@dataclass
class Ledger:
    store: Store
    folder: Path
    now: Callable[[], datetime] = utc_now

    @property
    def eraser(self) -> Eraser:
        store = self.store
        return Eraser(store.pool, store.log, store.people.keys, ErasureFile(self.folder), self.now)

    def act(self, actor: str = NAME, tenant: str = TENANT, key: str = "sk-live-0123456789", **more: Any) -> None:
        self.store.handle(SetCredential(tenant, "openai", Secret(key), CredentialConfig(), meta(actor, **more)))

    def erase(self, kind: Kind, name: str, tenant: str | None = None) -> PersonErased:
        found = self.eraser.find(kind, name)
        assert found is not None
        return self.eraser.erase(found, tenant, OPERATOR)

    def bytes_of_events(self) -> bytes:
        with self.store.superuser() as database:
            return b"".join(bytes(row["state"]) for row in database.execute("SELECT state FROM keyledger_events"))


@pytest.fixture
def ledger(store: Store, tmp_path: Path) -> Iterator[Ledger]:
    yield Ledger(store, tmp_path)


def test_no_table_holds_a_name_an_address_or_a_reason_in_clear(ledger: Ledger) -> None:
    ledger.act()
    ledger.store.handle(DeleteCredential(TENANT, "openai", meta()))
    refused = RefusedRequest(outcome=Outcome.DENIED, method="PUT", route="/x", status=403, code="forbidden")
    ledger.store.log.append([request_refused(meta("anonymous", "anonymous", reason=None), utc_now(), refused)])
    ledger.store.log.append([audit_read(meta(), utc_now(), "entries", f"actor:{NAME}")])
    ledger.store.follow()
    assert leaks(dump(ledger.store.url), [NAME, ADDRESS, REASON]) == set()
    first = ledger.store.audit()[0]
    assert (first.actor, first.client_address, first.reason, first.erased) == (NAME, ADDRESS, REASON, ())


def test_after_an_erasure_nobody_reads_the_members_and_every_check_holds(ledger: Ledger) -> None:
    ledger.act()
    ledger.act("anna", OTHER_TENANT)
    before = ledger.bytes_of_events()
    event = ledger.erase(Kind.ACTOR, NAME)
    erased, others, record = ledger.store.audit()
    assert (erased.actor, erased.client_address, erased.reason) == (None, None, None)
    assert set(erased.erased) == {"actor", "client_address", "reason"}
    assert erased.fingerprint is not None, "it is about the tenant"
    assert (others.actor, others.reason) == ("anna", REASON)
    assert (record.action, record.actor, record.reason) == ("person-erased", "cli:otto", "asked by the person")
    assert record.details == {"kind": "actor", "person": event.person, "keys": 1}
    assert ledger.store.audit(actor=NAME) == []
    assert ledger.bytes_of_events().startswith(before)
    check(ledger.store)
    with open_store(ledger.store.url) as elsewhere:
        assert elsewhere.audit()[0].actor is None, "another node reads no more"


def test_the_name_can_no_longer_be_linked_to_its_token(ledger: Ledger) -> None:
    ledger.act()
    person = ledger.store.people.keys.person_named(Kind.ACTOR, NAME)
    ledger.erase(Kind.ACTOR, NAME)
    assert ledger.store.people.keys.person_named(Kind.ACTOR, NAME) is None
    ledger.act(key="sk-live-another-0123456789")
    again = ledger.store.people.keys.person_named(Kind.ACTOR, NAME)
    assert again not in {None, person}
    assert [entry.version for entry in ledger.store.audit(actor=NAME)] == [2], "a person who comes back is new"


def test_a_node_that_has_a_destroyed_key_in_memory_seals_under_a_fresh_one(ledger: Ledger) -> None:
    with open_store(ledger.store.url) as elsewhere:
        there = Ledger(elsewhere, ledger.folder)
        there.act()
        ledger.erase(Kind.ACTOR, NAME)
        there.act(key="sk-live-another-0123456789")
        assert [entry.actor for entry in elsewhere.audit(action=Action("replaced"))] == [NAME]
        assert [entry.actor for entry in elsewhere.audit(action=Action("set"))] == [None]
        check(elsewhere)


def test_a_tenant_loses_its_credentials_and_what_was_said_about_it(ledger: Ledger) -> None:
    ledger.act()
    ledger.act(tenant=OTHER_TENANT)
    assert ledger.eraser.end_credentials(TENANT, OPERATOR) == 1
    ledger.erase(Kind.TENANT, TENANT, TENANT)
    assert ledger.store.view.read(TENANT, "openai").current() is None
    mine = ledger.store.audit(tenant_id=TENANT)
    assert [(entry.actor, entry.reason, entry.fingerprint) for entry in mine] == [(None, None, None)] * 2
    assert "fingerprint" in mine[0].erased
    (other,) = ledger.store.audit(tenant_id=OTHER_TENANT)
    assert (other.actor, other.erased) == (NAME, ())
    check(ledger.store)


def test_a_restored_backup_brings_nobody_back(ledger: Ledger) -> None:
    ledger.act()
    ledger.act(tenant=OTHER_TENANT)
    with ledger.store.superuser() as database:
        people, keys = (database.execute(f"SELECT * FROM {t}").fetchall() for t in ("people", "personal_keys"))
    ledger.erase(Kind.ACTOR, NAME)
    ledger.erase(Kind.TENANT, OTHER_TENANT, OTHER_TENANT)
    with ledger.store.superuser() as database:  # as the backup has it: no erasure in the log, keys and names there
        database.execute("ALTER TABLE keyledger_events DISABLE TRIGGER ALL")
        database.execute("DELETE FROM keyledger_events WHERE originator_id = %s", [ERASURE_STREAM])
        database.execute("ALTER TABLE keyledger_events ENABLE ALWAYS TRIGGER keyledger_events_append_only")
        database.execute("TRUNCATE audit_trail; DELETE FROM projection_positions")
        for row in people:
            values = [row["lookup"], row["person"]]
            database.execute("UPDATE people SET lookup = %s, erased_at = NULL WHERE person = %s", values)
        for row in keys:
            database.execute(
                "INSERT INTO personal_keys VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING", list(row.values())
            )
    with open_store(ledger.store.url) as restored:
        again = Ledger(restored, ledger.folder)
        assert restored.audit()[0].actor == NAME, "the backup did bring the name back"
        again.eraser.settle(service_meta)
        assert restored.audit(tenant_id=TENANT)[0].actor is None
        assert restored.audit(tenant_id=OTHER_TENANT)[0].fingerprint is None
        assert restored.view.read(OTHER_TENANT, "openai").current() is None, "its credential ended again"
        assert restored.view.read(TENANT, "openai").current() is not None
        erasures = restored.audit(action=Action("person-erased"))
        assert [(entry.role, entry.details.get("erased_tenant")) for entry in erasures] in (
            [("service", None), ("service", OTHER_TENANT)],
            [("service", OTHER_TENANT), ("service", None)],
        )
        again.eraser.settle(service_meta)
        assert len(restored.audit(action=Action("person-erased"))) == 2, "it is in order now"


def test_an_erasure_that_a_crash_interrupted_is_completed(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger.act()
    with monkeypatch.context() as patch:
        patch.setattr(Eraser, "_destroy", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            ledger.erase(Kind.ACTOR, NAME)
    assert ledger.store.audit()[0].actor == NAME
    ledger.eraser.settle(service_meta)
    assert ledger.store.audit()[0].actor is None
    assert len(ledger.store.audit(action=Action("person-erased"))) == 1


def test_another_node_learns_of_an_erasure_and_keeps_it_outside_the_database(ledger: Ledger, tmp_path: Path) -> None:
    ledger.act()
    event = ledger.erase(Kind.ACTOR, NAME)
    other = replace(ledger, folder=tmp_path / "other")
    other.eraser.settle(service_meta)
    assert ErasureFile(other.folder).read() == {event.person}


def test_keys_end_by_time_and_the_end_is_recorded(ledger: Ledger) -> None:
    ledger.act()
    later = replace(ledger, now=lambda: datetime.now(UTC) + timedelta(days=31))
    later.eraser.expire(31, service_meta)
    assert ledger.store.audit()[0].actor == NAME, "it is kept for 31 days"
    later.eraser.expire(30, service_meta)
    first, record = ledger.store.audit()
    assert (first.actor, first.reason) == (None, None)
    assert first.fingerprint is not None, "it is about the tenant"
    assert (record.action, record.details["keys"]) == ("personal-data-expired", 1)
    later.eraser.expire(30, service_meta)
    assert len(ledger.store.audit()) == 2, "nothing is left to record"
    check(ledger.store)


def test_a_search_for_a_person_goes_with_the_person(ledger: Ledger) -> None:
    ledger.act()
    ledger.store.log.append([audit_read(meta("auditor", "auditor"), utc_now(), "entries", f"actor:{NAME} since:24h")])
    report = report_on(NAME, PostgresAuditTrail(ledger.store.pool, ledger.store.follower, ledger.store.people.reader))
    assert [entry.action for entry in report.entries] == ["set"]
    assert [entry.actor for entry in report.searches] == ["auditor"]
    ledger.erase(Kind.ACTOR, NAME)
    (read,) = ledger.store.audit(action=Action("audit-read"))
    assert (read.actor, read.erased, read.details) == ("auditor", ("query",), {"view": "entries", "count": 1})


FORGERIES: dict[str, Callable[[str, str], str]] = {
    "a text moved from another event": lambda mine, other: other,
    "a commitment of another text": lambda mine, other: mine.replace(mine.split(".")[1], other.split(".")[1]),
    "a box of another text": lambda mine, other: mine.replace(mine.split(".")[2], other.split(".")[2]),
    "no sealed text": lambda mine, other: mine[:-60],
}


@pytest.mark.parametrize("forge", FORGERIES.values(), ids=list(FORGERIES))
def test_a_member_that_was_changed_or_moved_is_not_shown(ledger: Ledger, forge: Callable[[str, str], str]) -> None:
    ledger.act()
    ledger.act(key="sk-live-another-0123456789")
    ledger.store.follow()
    with ledger.store.superuser() as database:
        first, second = (row["actor"] for row in database.execute("SELECT actor FROM audit_trail ORDER BY position"))
        database.execute("UPDATE audit_trail SET actor = %s WHERE position = 2", [forge(str(second), str(first))])
    with pytest.raises(CredentialIntegrityError):
        ledger.store.audit()


def test_a_key_that_was_exchanged_in_the_table_is_found(ledger: Ledger) -> None:
    ledger.act()
    with ledger.store.superuser() as database:
        database.execute("UPDATE personal_keys SET key = sha256(key)")
    with pytest.raises(CredentialIntegrityError):
        ledger.store.audit()


@pytest.mark.parametrize("kept", ["actor", "tenant"])
def test_a_key_that_was_deleted_without_an_erasure_is_found_by_a_verification(
    ledger: Ledger, tmp_path: Path, kept: str
) -> None:
    ledger.act()
    ledger.erase(Kind.ACTOR, NAME)
    ledger.act("anna", key="sk-live-another-0123456789")
    ledger.store.follow()
    with ledger.store.superuser() as database, database.transaction():
        assert verify_snapshot(database, None, tmp_path).holds
        database.execute(
            "DELETE FROM personal_keys USING people WHERE people.person = personal_keys.person AND kind <> %s", [kept]
        )
        error = verify_snapshot(database, None, tmp_path).error
    assert error is not None
    assert (error.part, error.position) == ("people", 2 if kept == "tenant" else 1)


def test_every_personal_member_of_a_stored_event_is_sealed_for_its_place(ledger: Ledger) -> None:
    ledger.act()
    event = ledger.store.log.last(stream_id(TENANT, "openai"))
    assert isinstance(event, CredentialSet)
    members = sealed_members_of(event)
    assert {place.member for place, _ in members} == {"actor", "client_address", "reason", "fingerprint"}
    assert {len(parse(text).keys) for place, text in members if place.member != "fingerprint"} == {2}
    elsewhere = [(Place(place.stream, place.version + 1, place.member), text) for place, text in members]
    assert all(is_sealed(text) for _, text in members)
    with pytest.raises(CredentialIntegrityError):
        ledger.store.people.reader.disclosed(elsewhere)


ONE_TEXT = AuditFilter(texts=(NAME.upper(),), limit=2)


def test_a_search_for_texts_finds_what_can_be_read_and_pages_through_the_rest(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, bound in {"WINDOW": 2, "WINDOW_MAX": 2, "BUDGET_S": 0}.items():
        monkeypatch.setattr(f"projections.audit.search.{name}", bound)
    for number in range(9):
        ledger.act("anna" if number % 4 else NAME, key=f"sk-live-{number:012}", reason=f"note {number}")
    trail = PostgresAuditTrail(ledger.store.pool, ledger.store.follower, ledger.store.people.reader)
    for newest in (False, True):
        found, pages, following = list[int](), 0, 0 if not newest else None
        first = True
        while first or following is not None:
            first = False
            wanted = replace(ONE_TEXT, newest_first=newest, before=following if newest else None)
            page = trail.page(replace(wanted, after=0 if newest else following or 0))
            found += [entry.position for entry in page.entries]
            following, pages = page.following, pages + 1
        assert found == ([9, 5, 1] if newest else [1, 5, 9])
        assert pages >= 3
