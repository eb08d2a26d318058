"""Every event type has one definition, from which everything that knows events is computed."""

import json
import subprocess
import sys
from collections import Counter
from typing import Any

from domain.audit.event_catalogue import BY_ACTION, EVENTS, page
from domain.events.event import Event
from tests.support.places import REPOSITORY

TENANT = "3f0c8a52-9b1d-4e6f-8a27-5d4c3b2a1f09"


def test_the_page_is_what_the_definitions_say() -> None:
    assert (REPOSITORY / "docs/events.md").read_text(encoding="utf-8") == page(), "run `make docs`"


def test_no_topic_and_no_action_is_used_twice() -> None:
    names = [event.TOPIC for event in EVENTS] + [action.name for event in EVENTS for action in event.DEFINITION.actions]
    assert [name for name, count in Counter(names).items() if count > 1] == []
    assert len(names) == len(EVENTS) + len(BY_ACTION)


def _kinds(of: type[Event]) -> set[type[Event]]:
    below = {kind for one in of.__subclasses__() for kind in {one, *_kinds(one)}}
    return {kind for kind in below if kind.__module__.startswith("domain.")}


def test_every_event_type_of_the_domain_is_in_the_catalogue() -> None:
    defined = {kind.__name__ for kind in _kinds(Event) if "TOPIC" in vars(kind)}
    assert defined == {event.__name__ for event in EVENTS}


def test_an_event_type_is_added_by_its_class_alone(database_url: str) -> None:
    """A process of its own defines one more class; every layer then handles its events."""
    ended = subprocess.run(
        [sys.executable, "-m", "tests.support.added_event", database_url],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr
    observed: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    details = {"days": 7, "share": 0.5}
    assert observed["stored"].items() >= {**details, "notice": None, "class_version": 2}.items()
    assert observed["read back"] is True
    assert observed["days of the older version"] == 30
    assert observed["leaf"]["type"] == "CredentialExpiring"
    assert observed["leaf"]["details"] == details
    (entry,) = observed["entries"]
    assert entry["action"] == "credential-expiring"
    assert (entry["outcome"], entry["tenant_id"], entry["provider"]) == ("failed", TENANT, "openai")
    assert entry["details"] == details
    assert observed["documented actions"][-1] == "credential-expiring"
    exports = observed["exports"]
    assert ",credential-expiring,failed," in exports["csv"]
    assert json.loads(exports["jsonl"])["details"] == details
    assert json.loads(exports["cloudevents"])["type"] == "keyledger.audit.credential-expiring"
    ocsf = json.loads(exports["ocsf"])
    assert (ocsf["class_uid"], ocsf["activity_id"], ocsf["activity_name"]) == (3004, 99, "About to expire")
    assert ocsf["entity"]["type"] == "credential"
    assert "v1  reported as expiring by expiry (service)" in observed["timeline"]
    assert (
        "| `CredentialExpiring` (class version 2) | `credential-expiring` | a credential is about to expire |"
        " `days`, `share`, `notice` | - | `tenant_id`, `provider` | `current_credentials`, resolution |"
        " Entity Management (3004) | About to expire |\n"
    ) in observed["page"]
