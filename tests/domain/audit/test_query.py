"""The filter language: every term, every fault, and that what is written reads back as the same filter."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.audit.entries import Action, AuditFilter
from domain.audit.query import NAMES, format_query, parse, recorded_query
from domain.audit.request_events import Outcome
from domain.credentials.built_in_providers import BUILT_IN
from domain.errors import InvalidRequestError
from tests.support.scenario import NOW, TENANT

UNDERSTOOD = [
    pytest.param("", AuditFilter(), id="nothing: everything"),
    pytest.param(f"tenant:{TENANT}", AuditFilter(tenant_id=TENANT), id="a tenant"),
    pytest.param(
        "provider:openai  action:set outcome:success",
        AuditFilter(provider="openai", action=Action("set"), outcome=Outcome.SUCCESS),
        id="several",
    ),
    pytest.param(
        "actor:anna key:k0123456789 fingerprint:f0123456789abcdef",
        AuditFilter(actor="anna", key_id="k0123456789", fingerprint="f0123456789abcdef"),
        id="ids",
    ),
    pytest.param("since:90m", AuditFilter(since=NOW - timedelta(minutes=90)), id="minutes ago"),
    pytest.param("since:7d", AuditFilter(since=NOW - timedelta(days=7)), id="days ago"),
    pytest.param("until:2026-01-31", AuditFilter(until=datetime(2026, 1, 31, tzinfo=UTC)), id="a day"),
    pytest.param(
        "since:2026-01-31T12:00:00+02:00", AuditFilter(since=datetime(2026, 1, 31, 10, tzinfo=UTC)), id="another offset"
    ),
    pytest.param("ticket 4711", AuditFilter(texts=("ticket", "4711")), id="words"),
    pytest.param('reason:"ticket 4711"', AuditFilter(reason="ticket 4711"), id="words of the reason"),
    pytest.param('"tenant:x" 12:30', AuditFilter(texts=("tenant:x", "12:30")), id="words that look like terms"),
    pytest.param('text:"a \\"b\\" c"', AuditFilter(texts=('a "b" c',)), id="quotation marks in a quotation"),
]


@pytest.mark.parametrize(("text", "wanted"), UNDERSTOOD)
def test_a_filter_is_read(text: str, wanted: AuditFilter) -> None:
    assert parse(text, NOW) == wanted


REFUSED = [
    pytest.param("tenant:acme", "tenant", id="a tenant that is not a UUID"),
    pytest.param("provider:Acme/1", "provider", id="no name of a provider"),
    pytest.param("action:burned", "action", id="an action no one knows"),
    pytest.param("since:yesterday", "since", id="a time in words"),
    pytest.param("since:99999d", None, id="very long ago is a time"),
    pytest.param("since:2026-02-30", "since", id="a day that is not"),
    pytest.param("actor:anna actor:bert", "actor", id="a member twice"),
    pytest.param("colour:red", "query", id="a name no one knows"),
    pytest.param("actor:", "query", id="a name without a value"),
    pytest.param('text:"open', "query", id="a quotation that does not end"),
    pytest.param("a\x00b", "query", id="a control character"),
    pytest.param("x" * 1001, "query", id="too long"),
]


@pytest.mark.parametrize(("text", "field"), REFUSED)
def test_a_filter_that_means_nothing_is_refused_by_the_name_of_the_term(text: str, field: str | None) -> None:
    if field is None:
        assert parse(text, NOW).since is not None
        return
    with pytest.raises(InvalidRequestError) as refused:
        parse(text, NOW)
    assert [error.field for error in refused.value.fields] == [field]


def test_every_fault_is_named_at_once() -> None:
    with pytest.raises(InvalidRequestError) as refused:
        parse("tenant:acme since:soon", NOW)
    assert [error.field for error in refused.value.fields] == ["tenant", "since"]
    assert "acme" not in refused.value.detail


_MEMBERS = {
    "tenant_id": st.uuids().map(str),
    "provider": st.sampled_from(sorted(BUILT_IN)),
    "action": st.sampled_from(Action),
    "outcome": st.sampled_from(Outcome),
    "actor": st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=20),
    "since": st.datetimes(timezones=st.just(UTC)),
    "reason": st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=20),
    "texts": st.lists(st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=20), max_size=3).map(
        tuple
    ),
}


@given(st.fixed_dictionaries({}, optional=_MEMBERS))
def test_what_is_written_reads_back_as_the_same_filter(members: dict[str, object]) -> None:
    wanted = AuditFilter(**members)  # type: ignore[arg-type]
    assert parse(format_query(wanted) or "", NOW) == wanted


def test_every_member_has_a_name() -> None:
    assert len(NAMES) == len(set(NAMES)) == 11


@pytest.mark.parametrize(
    ("query", "kept"),
    [
        ("", None),
        ("actor:alice action:set ticket 4711", "action:set actor:alice text:ticket text:4711"),
        ("sk-0123456789", "text:...6789"),
        ('"key sk-0123456789 of alice"', 'text:"key ...6789 of alice"'),
        ("text:sk-0123456789", "text:...6789"),
        ('reason:"leaked sk-0123456789"', 'reason:"leaked ...6789"'),
        ("actor:sk-0123456789-0123456789", "actor:...6789"),
        ("key:k0123456789 fingerprint:f0123456789abcdef", "key:k0123456789 fingerprint:f0123456789abcdef"),
    ],
)
def test_what_the_log_keeps_of_a_query_is_no_api_key(query, kept):
    assert recorded_query(parse(query, NOW)) == kept


@given(words=st.lists(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=8), min_size=1))
def test_no_word_that_could_be_an_api_key_is_kept_whole(words):
    kept = recorded_query(AuditFilter(texts=(" ".join(words),)))
    assert kept is not None
    assert len(kept) <= len('text:""') + 14 * len(words) + len(words)
