"""An appended event reads back as the written form says it, and its projections follow from that."""

import json
from dataclasses import replace

import pytest

from domain import event_codec
from domain.credentials.credential import CredentialSet
from domain.events.event_definition import Members, MembersChange
from keyledger.log.event_forms import EventForms
from projections.replay.replaying import PROJECTIONS, replay_projection
from tests.support.scenario import TENANT
from tests.support.store import Store


def _with_versions(members: Members) -> Members:
    return {**members, "api_version": members["api_version"] or "2020-01-01"}


def _without_versions(members: Members) -> Members:
    return {**members, "api_version": None}


@pytest.fixture
def reads_two(store: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A program whose second form of events has a member that the first cannot say."""
    changed = replace(CredentialSet.DEFINITION, changes=(MembersChange(2, _with_versions, _without_versions),))
    monkeypatch.setattr(CredentialSet, "DEFINITION", changed)
    monkeypatch.setitem(event_codec._PLANS, CredentialSet.TOPIC, event_codec._Plan(CredentialSet))
    store.log.forms = store.log.mapper._forms = EventForms(store.pool, reads=2)  # type: ignore[attr-defined]
    return store


def stored(store: Store) -> Members:
    with store.superuser() as database:
        row = database.execute("SELECT convert_from(state, 'UTF8') AS s FROM keyledger_events").fetchone()
    assert row is not None
    members: Members = json.loads(str(row["s"]))
    return members


def test_an_event_in_an_earlier_form_is_one_that_earlier_nodes_read(reads_two: Store) -> None:
    reads_two.set(TENANT, "openai", "sk-live-0123456789")
    assert "class_version" not in stored(reads_two)


def test_projections_show_what_the_stored_event_says(reads_two: Store) -> None:
    reads_two.set(TENANT, "openai", "sk-live-0123456789")
    current = reads_two.view.read(TENANT, "openai").current()
    assert current is not None
    assert current.config.api_version == "2020-01-01", "as an upcast of the stored members says"
    for projection in PROJECTIONS:
        assert replay_projection(reads_two.url, projection).difference_count == 0


def test_the_newest_form_is_written_once_it_is_recorded(reads_two: Store) -> None:
    reads_two.log.forms.write(2)
    reads_two.set(TENANT, "openai", "sk-live-0123456789")
    assert stored(reads_two)["class_version"] == 2
