"""An audit record has one spelling, and nothing else is taken for one."""

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.audit.record import AuditRecord, decode_record
from domain.audit.request_events import Outcome
from domain.proofs.errors import ProofError
from tests.support.audit_records import encode_record, story
from tests.support.each import each

LEAF = story().leaves[1]
RECORD = decode_record(LEAF)

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
RECORDS = st.builds(
    AuditRecord,
    position=st.integers(1, 2**40),
    stream=st.uuids(),
    version=st.integers(1, 2**31),
    type=TEXT,
    time=st.datetimes(timezones=st.just(UTC), min_value=datetime(1000, 1, 1)),  # noqa: DTZ001  hypothesis adds the zone
    node_time=st.datetimes(timezones=st.just(UTC), min_value=datetime(1000, 1, 1)),  # noqa: DTZ001  as above
    event=st.binary(min_size=32, max_size=32).map(lambda digest: f"sha256:{digest.hex()}"),
    actor=TEXT,
    role=TEXT,
    source=TEXT,
    request_id=TEXT,
    command_id=TEXT,
    causation_id=st.none() | TEXT,
    client_address=st.none() | TEXT,
    reason=st.none() | TEXT,
    outcome=st.sampled_from(Outcome),
    tenant_id=st.none() | TEXT,
    provider=st.none() | TEXT,
    masked_key=st.none() | TEXT,
    key_id=st.none() | TEXT,
    fingerprint=st.none() | TEXT,
    details=st.dictionaries(TEXT, JSON, max_size=3),
)


@given(RECORDS)
def test_a_record_that_is_encoded_reads_back(record):
    assert decode_record(encode_record(record)) == record


def test_the_leaf_of_a_record_is_written_like_this_for_ever():
    assert LEAF.decode() == (
        '{"actor":"olga","causation_id":null,"client_address":"192.0.2.1",'
        '"command_id":"af53bccf-0e8b-5d1a-b18d-b5378bc4e2e0","details":{},'
        '"event":"sha256:0000000000000000000000000000000000000000000000000000000000000002","fingerprint":null,'
        '"key_id":null,"masked_key":null,"node_time":"2026-01-01T00:00:02.000000+00:00",'
        '"outcome":"success","position":2,"provider":"openai","reason":null,'
        '"request_id":"req-2","role":"sysadmin","source":"api","stream":"553c4fc9-58d2-528c-ad1e-b88f256e9d4a",'
        '"tenant_id":"00000000-0000-4000-8000-00000000000a","time":"2026-01-01T00:00:02.000000+00:00",'
        '"type":"CredentialSet","version":1}'
    )


def changed(**members):
    return {**json.loads(LEAF), **members}


def canonical(members):
    return json.dumps(members, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def test_the_leaf_that_the_refused_ones_differ_from_is_read():
    assert decode_record(canonical(changed())) == RECORD


@each(
    ("leaf", "message"),
    [
        pytest.param(b"", "not JSON", id="nothing"),
        pytest.param(b"\xff", "not JSON", id="not UTF-8"),
        pytest.param(b"[" * 50_000, "not JSON", id="too deep"),
        pytest.param(b"[]", "members", id="no object"),
        pytest.param(b" " + LEAF, "canonical|not JSON", id="white space before"),
        pytest.param(LEAF + b"\n", "canonical", id="a newline behind"),
        pytest.param(LEAF.replace(b",", b", ", 1), "canonical", id="white space inside"),
        pytest.param(LEAF.replace(b"olga", b"\\u006flga"), "canonical", id="an escape that is not needed"),
        pytest.param(LEAF[:-1] + b',"version":1}', "canonical", id="a member twice"),
        pytest.param(json.dumps(changed()).encode(), "canonical", id="another order of members"),
        pytest.param(LEAF.replace(b"{}", b'{"n":NaN}'), "not JSON", id="not a number"),
        pytest.param(LEAF.replace(b"{}", b'{"n":1e999}'), "not JSON", id="a number that is too large"),
        pytest.param(LEAF.replace(b"olga", b"\\ud800"), "not JSON", id="half a character"),
        pytest.param(canonical(changed(details={"x": "y" * 66_000})), "at most 65535", id="too long"),
        pytest.param(canonical(changed(more=1)), "members", id="a member too many"),
        pytest.param(canonical({"position": 1}), "members", id="members missing"),
        pytest.param(canonical(changed(actor=None)), "text", id="no actor"),
        pytest.param(canonical(changed(reason=1)), "text", id="a reason that is a number"),
        pytest.param(canonical(changed(position=0)), "position", id="position 0"),
        pytest.param(canonical(changed(version=True)), "version", id="a version that is a truth value"),
        pytest.param(canonical(changed(version=1.0)), "version", id="a version with a fraction"),
        pytest.param(canonical(changed(details=[])), "details", id="details that are not an object"),
        pytest.param(canonical(changed(outcome="maybe")), "outcome", id="an outcome that there is not"),
        pytest.param(canonical(changed(event="sha256:00")), "event", id="a short digest"),
        pytest.param(canonical(changed(event="sha256:" + "A" * 64)), "event", id="capital digits"),
        pytest.param(canonical(changed(stream=str(RECORD.stream).upper())), "stream", id="a UUID in capitals"),
        pytest.param(canonical(changed(time="2026-01-01T00:00:02+00:00")), "time", id="no microseconds"),
        pytest.param(canonical(changed(time="2026-01-01T00:00:02.000000Z")), "time", id="Z"),
        pytest.param(canonical(changed(time="2026-01-01T00:00:02.000000+01:00")), "time", id="another zone"),
        pytest.param(canonical(changed(time="2026-02-30T00:00:02.000000+00:00")), "time", id="no such day"),
        pytest.param(canonical(changed(time="2026-01-01T24:00:00.000000+00:00")), "time", id="no such hour"),
    ],
)
def test_what_is_no_record_is_refused_with_the_reason(leaf, message):
    with pytest.raises(ProofError, match=message):
        decode_record(leaf)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        pytest.param({"time": datetime(2026, 1, 1)}, "time", id="a time without a zone"),  # noqa: DTZ001
        pytest.param({"time": datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=1)))}, "time", id="another zone"),
        pytest.param({"details": {"x": object()}}, "details", id="details that are not JSON"),
        pytest.param({"details": {"x": float("nan")}}, "details", id="not a number"),
        pytest.param({"actor": None}, "text", id="no actor"),
        pytest.param({"position": 0}, "position", id="position 0"),
        pytest.param({"details": {"x": "y" * 66_000}}, "at most", id="too long"),
    ],
)
def test_a_record_that_would_not_be_read_back_is_not_written(members, message):
    with pytest.raises(ProofError, match=message):
        encode_record(RECORD._replace(**members))
