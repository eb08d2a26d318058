"""Copies of the audit for other programs: one module for each format, and the table of them.

Promises: every function is pure, from an entry to bytes; every format contains everything that an entry holds, under
the format's own names where it has them; one entry is one record, whatever its texts contain. Only the entry is read,
and it holds no secret.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from api.rest.audit.formats import cloud_events, comma_separated, json_lines, ocsf_events
from domain.audit.entries import AuditEntry
from domain.audit.formats import ExportFormat


@dataclass(frozen=True, slots=True)
class Format:
    """How a copy is written.

    media_type: for Content-Type. ending: of the file's name, without a dot. header: comes before the first record.
    row: makes one record, with its line end.
    """

    media_type: str
    ending: str
    header: bytes
    row: Callable[[AuditEntry], bytes]


_JSON_LINES = "application/x-ndjson"

FORMATS: Mapping[ExportFormat, Format] = {
    ExportFormat.CSV: Format(comma_separated.MEDIA_TYPE, "csv", comma_separated.HEADER, comma_separated.row),
    ExportFormat.JSONL: Format(_JSON_LINES, "jsonl", b"", json_lines.row),
    ExportFormat.OCSF: Format(_JSON_LINES, "ocsf.jsonl", b"", ocsf_events.row),
    ExportFormat.CLOUDEVENTS: Format(_JSON_LINES, "cloudevents.jsonl", b"", cloud_events.row),
}
"""Every format that an export can have."""
