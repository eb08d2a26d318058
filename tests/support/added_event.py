"""An event type that the product does not have, added in the one place where it would be: its class.

Importing this module adds it, so it has to be imported before anything that is computed from the event types, in a
process of its own. `python -m tests.support.added_event DATABASE_URL` prints as JSON what each layer makes of such an
event.
"""

import io
import json
import os
import sys
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass
from typing import ClassVar

from domain.audit import request_events
from domain.events.event import CommandMeta, RecordEvent, envelope, record_stream
from domain.events.event_definition import (
    OTHER,
    ActionDefinition,
    EventDefinition,
    Members,
    MembersChange,
    OcsfActivity,
    Subject,
)

TENANT = "3f0c8a52-9b1d-4e6f-8a27-5d4c3b2a1f09"


def _with_days(members: Members) -> Members:
    return {**members, "days": 30}


def _without_days(members: Members) -> Members:
    return {name: value for name, value in members.items() if name != "days"}


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialExpiring(RecordEvent):
    """A credential expires within some days."""

    TOPIC: ClassVar[str] = "CredentialExpiring"
    DEFINITION: ClassVar[EventDefinition] = EventDefinition(
        Subject.CREDENTIAL,
        ActionDefinition(
            "credential-expiring",
            "a credential is about to expire",
            OcsfActivity(OTHER, "About to expire"),
            "reported as expiring",
        ),
        failed=True,
        changes=(MembersChange(2, _with_days, _without_days),),
    )
    tenant_id: str
    provider: str
    days: int
    share: float
    notice: str | None = None


CredentialExpiring.__module__ = request_events.__name__
request_events.CredentialExpiring = CredentialExpiring  # type: ignore[attr-defined]  # as if that module had it


def main(database_url: str) -> None:
    """Print what each layer makes of the event."""
    from datetime import UTC, datetime

    from api.rest.audit.formats import FORMATS
    from domain.audit.event_catalogue import page
    from domain.audit.leaf import leaf_of
    from domain.event_codec import decode, encode
    from keyledger.encryption.form_agreement import agree_on_form
    from keyledger.encryption.nodes import Presence
    from scripts.main import main as keyledger
    from tests.support.rows import row_of
    from tests.support.service import ADMIN_KEY, client_of, environment, served
    from tests.support.store import open_store

    now = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
    meta = CommandMeta("expiry", "req-1", "cmd-1", role="service", source="service")
    place = envelope(record_stream(meta.command_id), 1, meta, now)
    event = CredentialExpiring(**place, tenant_id=TENANT, provider="openai", days=7, share=0.5)
    stored = encode(event)
    older = {name: value for name, value in json.loads(stored).items() if name not in {"days", "class_version"}}
    read = [decode(event.originator_id, 1, event.TOPIC, state) for state in (stored, json.dumps(older).encode())]
    observed: dict[str, object] = {
        "stored": json.loads(stored),
        "read back": read[0] == event,
        "days of the older version": getattr(read[1], "days", None),
        "leaf": json.loads(leaf_of(event, row_of(1, event))),
        "page": page(),
    }
    with open_store(database_url) as store:
        agree_on_form(Presence(store.pool), store.keyring, store.log.forms)
        store.log.append([event])
        (entry,) = store.audit(action="credential-expiring")
    observed["exports"] = {str(name): form.row(entry).decode() for name, form in FORMATS.items()}
    with served(database_url, environment()) as url, client_of(url) as client:
        found = client.http.get("/api/v1/audit/entries", params={"q": "action:credential-expiring"})
        observed["entries"] = found.json()["entries"]
        document = client.http.get("/openapi.json").json()
        observed["documented actions"] = document["components"]["schemas"]["Action"]["enum"]
        os.environ |= {"KEYLEDGER_URL": url, "KEYLEDGER_API_KEY": ADMIN_KEY}
        said = io.StringIO()
        with redirect_stdout(said), suppress(SystemExit):
            keyledger(("history", TENANT))
        observed["timeline"] = said.getvalue()
    print(json.dumps(observed))


if __name__ == "__main__":
    main(sys.argv[1])
