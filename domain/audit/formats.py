"""The formats in which the audit can be exported. `api.rest.audit.formats` writes them."""

from enum import StrEnum


class ExportFormat(StrEnum):
    """csv: for spreadsheets. jsonl: every member as the service shows it. ocsf, cloudevents: for other systems."""

    CSV = "csv"
    JSONL = "jsonl"
    OCSF = "ocsf"
    CLOUDEVENTS = "cloudevents"
