"""Entries in each export format: against the format's own readers and schemas, for every action and any text."""

import csv
import io
import json
from dataclasses import replace
from functools import cache

import jsonschema_rs
import pytest
from cloudevents.core.formats.json import JSONFormat
from hypothesis import given, settings
from hypothesis import strategies as st
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema  # type: ignore[import-untyped]

from api.rest.audit.formats import FORMATS, comma_separated, ocsf_events
from api.rest.audit.formats.members import NAMES, members
from domain.audit.entries import Action, AuditEntry
from domain.audit.formats import ExportFormat
from domain.text.visible_text import visible
from tests.support.entries import ENTRIES, REFUSED, SET, SEVERAL, TENANT, UNAUTHENTICATED, any_entries

OLDEST = "1.4.0"
"""The first release of OCSF that the events fit besides the one that they name."""

LINES = [ExportFormat.JSONL, ExportFormat.OCSF, ExportFormat.CLOUDEVENTS]
every_entry = pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: str(entry.action))


def line(form: ExportFormat, entry: AuditEntry) -> dict:
    """The one line that an entry becomes."""
    written = FORMATS[form].row(entry)
    assert written.endswith(b"\n") and written.count(b"\n") == 1
    found: dict = json.loads(written)
    return found


def rows(*entries: AuditEntry) -> list[list[str]]:
    """A CSV of the entries as a reader of CSV sees it."""
    written = FORMATS[ExportFormat.CSV].header + b"".join(map(FORMATS[ExportFormat.CSV].row, entries))
    return list(csv.reader(io.StringIO(written.decode(), newline=""), strict=True))


def plain(cell: str) -> str:
    """A text as it was before it became a cell."""
    return cell.removeprefix("'")


def test_every_format_and_every_action_is_tested() -> None:
    assert set(FORMATS) == set(ExportFormat)
    assert {entry.action for entry in ENTRIES} == set(Action)


@pytest.mark.parametrize("form", LINES)
@settings(deadline=None)
@given(entry=any_entries())
def test_an_entry_is_one_line_of_json_whatever_its_texts_hold(form: ExportFormat, entry: AuditEntry) -> None:
    assert line(form, entry)


@settings(deadline=None)
@given(entry=any_entries())
def test_json_lines_hold_every_member(entry: AuditEntry) -> None:
    found = line(ExportFormat.JSONL, entry)
    assert found == members(entry)
    assert list(found) == list(NAMES)


class TestCsv:
    def test_it_has_a_header_and_ends_its_lines_as_rfc_4180_does(self) -> None:
        written = FORMATS[ExportFormat.CSV].row(SET)
        assert (
            written
            == (
                f"41,2026-01-31T12:00:00.123456Z,set,success,{TENANT},openai,1,alice,sysadmin,api,192.0.2.7,"
                "ticket 4711,req-1,cmd-1,,2026-01-31T12:00:00.123456Z,...xyz9,k0123456789,f0123456789abcdef,,\r\n"
            ).encode()
        )
        assert rows()[0] == list(NAMES)

    @settings(deadline=None)
    @given(entries=st.lists(any_entries(), max_size=3))
    def test_a_reader_of_csv_gets_every_text_back(self, entries: list[AuditEntry]) -> None:
        _, *read = rows(*entries)
        assert len(read) == len(entries)
        for cells, entry in zip(read, entries, strict=True):
            for cell, (name, value) in zip(cells, members(entry).items(), strict=True):
                shown = json.loads(cell or "{}") if name == "details" else plain(cell)
                text = " ".join(value) if isinstance(value, list) else "" if value is None else str(value)
                assert shown == (value if name == "details" else visible(text))

    @pytest.mark.parametrize(
        "text",
        [
            pytest.param('=HYPERLINK("http://x")', id="equals"),
            pytest.param("+1", id="plus"),
            pytest.param("-1+1|cmd", id="minus"),
            pytest.param("@SUM(1)", id="at"),
            pytest.param("\t1", id="tab"),
            pytest.param("\r1", id="carriage return"),
            pytest.param("\n1", id="line feed"),
            pytest.param("\0=1", id="nul"),
            pytest.param("  =1", id="after blanks"),
            pytest.param("＝1", id="full-width equals"),
            pytest.param("\ufeff=1", id="after a byte order mark"),
            pytest.param("'=1", id="an apostrophe that was there"),
        ],
    )
    def test_what_a_spreadsheet_would_compute_is_marked(self, text: str) -> None:
        _, cells = rows(replace(SET, reason=text))
        assert cells[NAMES.index("reason")] == f"'{visible(text)}"

    @settings(deadline=None)
    @given(text=st.text(st.characters(codec="utf-8")))
    def test_no_cell_begins_as_a_formula(self, text: str) -> None:
        cell = comma_separated.neutral(text)
        assert not cell.lstrip().startswith(("=", "+", "-", "@", "＝", "＋", "－", "＠"))
        assert not cell.startswith(("\t", "\r", "\n", "\0"))
        assert plain(cell) == text

    @pytest.mark.parametrize("text", ["...xyz9", "ticket 4711", "k0123456789", "a=b", "", "1-2"])
    def test_other_texts_stay_as_they_are(self, text: str) -> None:
        assert comma_separated.neutral(text) == text


@cache
def ocsf_schema(version: str, class_uid: int) -> jsonschema_rs.Draft202012Validator:
    """The schema of a class in a release of OCSF, as its authors published it."""
    schema = OcsfJsonSchemaEmbedded(get_ocsf_schema(version))
    return jsonschema_rs.Draft202012Validator(schema.get_class_schema(schema.lookup_class_name_from_uid(class_uid)))


def ocsf_errors(event: dict, version: str = ocsf_events.VERSION) -> list[str]:
    return [str(error) for error in ocsf_schema(version, event["class_uid"]).iter_errors(event)]


class TestOcsf:
    @every_entry
    @pytest.mark.parametrize("version", [OLDEST, ocsf_events.VERSION])
    def test_the_event_of_every_action_fits_the_schema(self, entry: AuditEntry, version: str) -> None:
        assert ocsf_errors(line(ExportFormat.OCSF, entry), version) == []

    @settings(deadline=None)
    @given(entry=any_entries())
    def test_every_event_fits_the_schema(self, entry: AuditEntry) -> None:
        assert ocsf_errors(line(ExportFormat.OCSF, entry)) == []

    @every_entry
    def test_the_schema_would_find_a_fault(self, entry: AuditEntry) -> None:
        event = line(ExportFormat.OCSF, entry)
        assert ocsf_errors({**event, "tenant": TENANT})
        assert ocsf_errors({**event, "activity_id": 77})
        assert ocsf_errors({name: value for name, value in event.items() if name != "metadata"})

    @pytest.mark.parametrize(
        ("entry", "class_uid", "activity_id", "status_id"),
        [
            (SET, 3004, 1, 1),
            (replace(SET, action=Action("replaced")), 3004, 3, 1),
            (replace(SET, action=Action("deleted")), 3004, 4, 1),
            (REFUSED, 6003, 3, 2),
            (SEVERAL, 6003, 99, 2),
            (UNAUTHENTICATED, 3002, 1, 2),
            (replace(SET, action=Action("audit-read")), 6003, 2, 1),
            (replace(SET, action=Action("audit-exported")), 6003, 2, 1),
        ],
    )
    def test_actions_have_the_class_that_monitoring_looks_for(self, entry, class_uid, activity_id, status_id) -> None:
        event = line(ExportFormat.OCSF, entry)
        assert (event["class_uid"], event["activity_id"], event["status_id"]) == (class_uid, activity_id, status_id)
        assert event["type_uid"] == class_uid * 100 + activity_id
        assert event["time"] == 1769860800123
        assert event["metadata"]["uid"] == "41"

    @settings(deadline=None)
    @given(entry=any_entries())
    def test_nothing_of_an_entry_is_lost(self, entry: AuditEntry) -> None:
        told = set(map(str, _leaves(line(ExportFormat.OCSF, entry))))
        for value in _leaves(members(entry)):
            assert str(value) in told or not value


class TestCloudEvents:
    @every_entry
    def test_a_reader_of_cloud_events_takes_every_entry(self, entry: AuditEntry) -> None:
        event = JSONFormat().read(None, FORMATS[ExportFormat.CLOUDEVENTS].row(entry))
        assert event.get_specversion() == "1.0"
        assert event.get_id() == str(entry.position)
        assert event.get_type() == f"keyledger.audit.{entry.action}"
        assert event.get_time() == entry.timestamp
        assert event.get_data() == members(entry)

    @pytest.mark.parametrize(
        ("entry", "subject"),
        [
            (SET, f"tenants/{TENANT}/credentials/openai"),
            (replace(REFUSED, provider=None), f"tenants/{TENANT}"),
            (UNAUTHENTICATED, None),
        ],
    )
    def test_the_subject_is_what_the_entry_is_about(self, entry: AuditEntry, subject: str | None) -> None:
        assert line(ExportFormat.CLOUDEVENTS, entry).get("subject") == subject


def _leaves(value: object) -> list[object]:
    """Every value inside, without the members that hold others."""
    if isinstance(value, dict):
        return [leaf for inner in value.values() for leaf in _leaves(inner)]
    if isinstance(value, list):
        return [leaf for inner in value for leaf in _leaves(inner)]
    return [value]
