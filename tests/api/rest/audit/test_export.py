"""The export of the audit trail over HTTP: what is in it, who gets it, what is recorded, and how it breaks off."""

import csv
import gc
import io
import json
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from urllib.parse import parse_qsl, urlsplit

import pytest

from api.front.services import Services
from api.rest.audit import export as audit_export
from api.rest.audit import export_parts
from domain.access.roles import Role
from domain.audit.entries import AuditEntry, AuditFilter, AuditTrail, FoundEntries
from domain.audit.formats import ExportFormat
from domain.audit.request_events import AuditExported
from domain.errors import CredentialIntegrityError, StoreUnavailableError
from tests.api.conftest import CREDENTIALS, KEYS, OTHER_TENANT, SUPER_KEY, TENANT, Harness
from tests.api.front.test_over_http import served
from tests.support.entries import SET

EXPORT = "/api/v1/audit/export"
ENTRIES = "/api/v1/audit/entries"


@pytest.fixture
def filled(harness):
    """Five entries, one a second from 12:00:00 on; what is exported is the sixth."""
    harness.put()
    harness.put(api_key="sk-another-key", headers={"X-API-Key": KEYS[Role.SYSADMIN], "X-Request-ID": "req-2"})
    harness.client.delete(f"{CREDENTIALS}/openai", headers={"Idempotency-Key": "delete-1"})
    harness.put("mistral")
    harness.client.put(f"{CREDENTIALS}/openai".replace(TENANT, OTHER_TENANT), json={"api_key": "sk-0123456789"})
    return harness


def exported(harness, form="jsonl", **query):
    answer = harness.client.get(EXPORT, params={"format": form, **query})
    assert answer.status_code == 200, answer.text
    return answer


def lines(answer):
    return [json.loads(line) for line in answer.content.splitlines()]


def positions(answer):
    return [line["position"] for line in lines(answer)]


@dataclass
class Watched:
    """The harness's trail, with something that happens whenever a page is read."""

    trail: AuditTrail
    before_page: Callable[[int], None]
    pages: int = 0

    def page(self, wanted: AuditFilter) -> FoundEntries:
        if not wanted.newest_first:
            self.pages += 1
            self.before_page(self.pages)
        return self.trail.page(wanted)


def watch(harness: Harness, before_page: Callable[[int], None], trail: AuditTrail | None = None) -> Watched:
    watched = Watched(trail or harness.services.audit, before_page)
    services: Services = replace(harness.services, audit=watched)
    harness.services = services
    return watched


@pytest.fixture
def small_pages(monkeypatch):
    monkeypatch.setattr(audit_export, "PAGE", 2)


class TestContent:
    def test_a_line_shows_what_the_entries_show(self, filled):
        shown = filled.client.get(ENTRIES).json()["entries"]
        assert lines(exported(filled))[: len(shown)] == shown
        assert len(shown) == 5

    def test_the_export_itself_is_its_last_entry(self, filled):
        *_, last = lines(exported(filled, q="provider:openai"))
        assert last["action"] != "audit-exported", "it does not fit this filter"
        *_, last = lines(exported(filled))
        assert (last["action"], last["details"]) == ("audit-exported", {"format": "jsonl"})

    @pytest.mark.parametrize(
        ("form", "kind", "ending"),
        [
            ("csv", "text/csv; charset=utf-8; header=present", "csv"),
            ("jsonl", "application/x-ndjson", "jsonl"),
            ("ocsf", "application/x-ndjson", "ocsf.jsonl"),
            ("cloudevents", "application/x-ndjson", "cloudevents.jsonl"),
        ],
    )
    def test_it_is_a_file_of_its_format_whatever_is_accepted(self, filled, form, kind, ending):
        answer = filled.client.get(EXPORT, params={"format": form}, headers={"Accept": "text/html"})
        assert answer.headers["Content-Type"] == kind
        assert answer.headers["Content-Disposition"] == f'attachment; filename="keyledger-audit.{ending}"'
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.content.endswith(b"\n")
        assert answer.content.count(b"\n") == 6 + (form == "csv")

    def test_csv_of_nothing_is_a_header(self, filled):
        written = exported(filled, "csv", actor="nobody").text
        assert next(iter(csv.reader(io.StringIO(written, newline=""))))[0] == "position"
        assert written.count("\n") == 1

    @pytest.mark.usefixtures("small_pages")
    def test_pages_join_without_a_gap(self, filled):
        assert positions(exported(filled)) == [1, 2, 3, 4, 5, 6]

    @pytest.mark.usefixtures("small_pages")
    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            ({"tenant_id": OTHER_TENANT}, [5]),
            ({"provider": "mistral"}, [4]),
            ({"actor": "sysadmin-1"}, [2]),
            ({"since": "2026-01-31T12:00:02Z", "until": "2026-01-31T12:00:03Z"}, [3]),
            ({"q": f"tenant:{TENANT} provider:openai"}, [1, 2, 3]),
            ({"q": "action:deleted"}, [3]),
            ({"q": "provider:openai", "tenant_id": OTHER_TENANT}, [5]),
            ({"provider": "openai", "after": 2}, [3, 5]),
        ],
    )
    def test_filters_narrow_it(self, filled, query, expected):
        assert positions(exported(filled, **query)) == expected


@pytest.mark.parametrize(
    ("query", "field", "rule"),
    [
        ("format=xml", "format", "must be one of csv, jsonl, ocsf, cloudevents"),
        ("format=CSV", "format", "must be one of csv, jsonl, ocsf, cloudevents"),
        ("", "format", "is required"),
        ("format=csv&format=jsonl", "format", "is given more than once"),
        ("format=csv&provider=GPT", "provider", "must be the name of"),
        ("format=csv&q=action:gone", "action", "must be one of"),
        ("format=csv&q=actor:a&actor=a", "actor", "is given twice"),
        ("format=jsonl&bom=true", "bom", "is for csv only"),
        ("format=csv&bom=maybe", "bom", "must be true or false"),
        ("format=csv&limit=5", "limit", "is not accepted"),
    ],
)
def test_an_export_that_cannot_be_is_refused_and_not_recorded(filled, query, field, rule):
    answer = filled.client.get(f"{EXPORT}?{query}")
    error = answer.json()["errors"][0]
    assert (answer.status_code, error["field"]) == (422, field)
    assert rule in error["detail"]
    assert not any(isinstance(event, AuditExported) for event in filled.log.events)


def test_a_byte_order_mark_comes_first_and_only_when_it_is_asked_for(filled):
    marked, plain = (filled.client.get(f"{EXPORT}?format=csv&bom={bom}").content for bom in ("true", "false"))
    assert marked.startswith(b"\xef\xbb\xbfposition,") and plain.startswith(b"position,")


@pytest.mark.parametrize(
    ("role", "status"), [(Role.SYSADMIN, 200), (Role.AUDITOR, 200), (Role.OPERATOR, 403), (Role.RUNTIME, 403)]
)
def test_auditors_and_sysadmins_may(filled, role, status):
    answer = filled.client.get(f"{EXPORT}?format=csv", headers={"X-API-Key": KEYS[role]})
    assert answer.status_code == status


def in_parts(harness, form="jsonl", **query):
    """Follow the links of an export in parts, and return its parts."""
    answers = [harness.client.get(EXPORT, params={"format": form, "part_of": 0, **query})]
    while following := answers[-1].links.get("next"):
        answers.append(harness.client.get(following["url"]))
        assert answers[-1].status_code == 200, answers[-1].text
    return answers


@pytest.mark.usefixtures("small_pages")
class TestParts:
    @pytest.fixture(autouse=True)
    def short(self, monkeypatch):
        monkeypatch.setattr(export_parts, "PART_S", 0)

    @pytest.mark.parametrize("form", ExportFormat)
    @pytest.mark.parametrize("query", [{}, {"q": "provider:openai"}, {"since": "2026-01-31T12:00:02Z", "after": 1}])
    def test_they_are_the_file_that_one_answer_would_be(self, filled, form, query):
        parts = in_parts(filled, form.value, **query)
        whole = exported(filled, form.value, **query).content.splitlines()
        without_its_record = whole if "q" in query else whole[:-1]
        assert b"".join(part.content for part in parts).splitlines() == without_its_record
        assert len(parts) > 1

    def test_times_ago_are_those_of_the_first_part(self, filled):
        parts = in_parts(filled, q="since:7d")
        assert [line["position"] for part in parts for line in lines(part)] == [1, 2, 3, 4, 5, 6]

    def test_all_of_them_are_one_record(self, filled):
        in_parts(filled)
        assert sum(isinstance(event, AuditExported) for event in filled.log.events) == 1

    def test_a_byte_order_mark_and_a_header_come_once(self, filled):
        parts = in_parts(filled, "csv", bom="true")
        assert [part.content.count(b"position,") for part in parts] == [1, 0, 0]
        assert [part.content.startswith(b"\xef\xbb\xbf") for part in parts] == [True, False, False]

    def test_others_that_begin_at_the_same_moment_do_not_share_its_record(self, filled):
        mine = filled.client.get(EXPORT, params={"format": "csv", "part_of": 0})
        exported(filled)
        assert filled.client.get(mine.links["next"]["url"]).status_code == 200

    @pytest.mark.parametrize(
        ("changed", "key"),
        [
            pytest.param({"format": "csv"}, SUPER_KEY, id="another format"),
            pytest.param({"q": "provider:openai"}, SUPER_KEY, id="another filter"),
            pytest.param({"part_of": "1"}, SUPER_KEY, id="a record of something else"),
            pytest.param({"part_of": "99"}, SUPER_KEY, id="no record"),
            pytest.param({}, KEYS[Role.AUDITOR], id="another caller"),
        ],
    )
    def test_a_part_of_no_recorded_export_is_refused(self, filled, changed, key):
        first = filled.client.get(EXPORT, params={"format": "jsonl", "part_of": 0})
        asked = dict(parse_qsl(urlsplit(first.links["next"]["url"]).query)) | changed
        answer = filled.client.get(EXPORT, params=asked, headers={"X-API-Key": key})
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "part_of")

    def test_a_filter_too_long_for_a_link_is_refused_before_it_is_recorded(self, filled):
        answer = filled.client.get(EXPORT, params={"format": "csv", "part_of": 0, "q": "since:7d " + "ab " * 325})
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "q")
        assert not any(isinstance(event, AuditExported) for event in filled.log.events)


class TestRecord:
    def test_it_is_recorded_before_the_first_entry_is_read(self, filled):
        seen = []
        watch(filled, lambda page: seen.append(filled.log.events[-1]))
        exported(filled, "csv", provider="openai", q="actor:super")
        assert isinstance(seen[0], AuditExported)
        assert (seen[0].format, seen[0].query) == ("csv", "provider:openai actor:super")

    def test_one_that_cannot_be_recorded_is_not_given(self, filled, monkeypatch):
        def refuse(*_: object) -> None:
            raise StoreUnavailableError

        watched = watch(filled, lambda page: None)
        monkeypatch.setattr(filled.recorder, "exported", refuse)
        answer = filled.client.get(f"{EXPORT}?format=csv")
        assert (answer.status_code, answer.json()["code"], watched.pages) == (503, "store-unavailable", 0)


@pytest.mark.usefixtures("small_pages")
class TestOutage:
    def test_before_the_first_page_is_a_problem(self, filled):
        watch(filled, lambda page: setattr(filled.log, "down", True))
        answer = filled.client.get(f"{EXPORT}?format=jsonl")
        assert (answer.status_code, answer.json()["code"]) == (503, "store-unavailable")

    @pytest.mark.parametrize("error", [StoreUnavailableError(), CredentialIntegrityError("x"), RuntimeError("x")])
    def test_after_the_first_page_breaks_the_answer_off(self, filled, error):
        def fail(page: int) -> None:
            if page > 1:
                raise error

        watch(filled, fail)
        with served(filled) as address, socket.create_connection(address, timeout=10) as connection:
            request = f"GET {EXPORT}?format=jsonl HTTP/1.1\r\nHost: x\r\nX-API-Key: {SUPER_KEY}\r\n\r\n"
            connection.sendall(request.encode())
            answer = b""
            while piece := connection.recv(65536):
                answer += piece
        assert answer.startswith(b"HTTP/1.1 200")
        assert b'{"position":2,' in answer and b'{"position":3,' not in answer
        assert not answer.endswith(b"0\r\n\r\n"), "the last chunk would say that this is all"
        assert b"problem" not in answer


@pytest.mark.usefixtures("small_pages")
def test_it_ends_while_others_write(filled):
    watched = watch(filled, lambda page: filled.put(api_key=f"sk-written-meanwhile-{page}"))
    assert positions(exported(filled)) == [1, 2, 3, 4, 5, 6]
    assert len(filled.log.events) > 6
    assert watched.pages == 3


class Long:
    """A trail of `length` entries that are made when they are asked for."""

    def __init__(self, length: int) -> None:
        self._length = length

    def page(self, wanted: AuditFilter) -> FoundEntries:
        if wanted.newest_first:
            return FoundEntries([replace(SET, position=self._length)], self._length)
        last = min(self._length, wanted.after + wanted.limit, (wanted.before or self._length + 1) - 1)
        found = [replace(SET, position=position) for position in range(wanted.after + 1, last + 1)]
        return FoundEntries(found, last if len(found) == wanted.limit else None)


@pytest.fixture
def alive() -> Iterator[Callable[[], int]]:
    """Counts the entries that were made since the test began. Older objects are set aside: they are a million."""
    gc.freeze()
    yield lambda: sum(isinstance(one, AuditEntry) for one in gc.get_objects())
    gc.unfreeze()


@pytest.mark.parametrize("form", ExportFormat)
def test_at_most_one_page_of_entries_is_in_memory(harness, monkeypatch, alive, form):
    monkeypatch.setattr(audit_export, "PAGE", 100)
    seen = []
    watched = watch(harness, lambda page: seen.append(alive()), Long(1000))
    assert exported(harness, form.value).content.count(b"\n") == 1000 + (form is ExportFormat.CSV)
    assert watched.pages == 10
    assert seen == [0] * 10, "the page before is gone when the next one is asked for"
