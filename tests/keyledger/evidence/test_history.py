"""The history that records describe: each impossible step is found, with its position; possible ones are not."""

from datetime import timedelta

import pytest

from domain.audit.request_events import Outcome
from domain.credentials.credential import stream_id
from domain.operations.encryption_keys import KEYRING_STREAM
from keyledger.evidence.errors import EvidenceError
from keyledger.evidence.history import History
from tests.support.audit_records import ANNA, BEGIN, BRUNO, REQUESTS, Records, story
from tests.support.each import each

ROTATION = {"rotation_id": "r-1"}
KEY = "EncryptionKeyIntroduced"


def told(records, **options):
    history = History(**{"whole": True, **options})
    for position, leaf in enumerate(records.leaves, start=1):
        history.tell_leaf(position, leaf)
    return history


def test_a_log_that_went_as_it_should_has_no_fault_and_says_what_it_did_not_interpret():
    history = told(story())
    assert history.position == 15
    assert history.streams == 4
    assert history.not_interpreted == {"RequestRefused": 2}
    assert history.first_step is None


CANNOT_BE = [
    pytest.param(Records().credential("Deleted"), 1, "deleted that does not exist", id="deleted before it was set"),
    pytest.param(
        Records().credential("Reencrypted"), 1, "re-encrypted that does not exist", id="re-encrypted before set"
    ),
    pytest.param(
        Records().credential("Set").credential("Deleted").credential("Deleted"), 3, "deleted that", id="deleted twice"
    ),
    pytest.param(
        Records().credential("Set").credential("Deleted").credential("Reencrypted"),
        3,
        "re-encrypted",
        id="back to life",
    ),
    pytest.param(
        Records().credential("Set", stream=stream_id(BRUNO, "openai")), 1, "stream of another", id="another's stream"
    ),
    pytest.param(
        Records().credential("Set", provider="azure", stream=REQUESTS), 1, "stream of another", id="no stream"
    ),
    pytest.param(Records().credential("Set", tenant_id=None), 1, "does not name the tenant", id="no tenant"),
    pytest.param(Records().credential("Set").credential("Set", version=3), 2, "is missing", id="a version left out"),
    pytest.param(Records().credential("Set").credential("Set", version=1), 2, "two histories", id="a version twice"),
    pytest.param(Records().credential("Set", version=2), 1, "it is the first one", id="a stream that begins later"),
    pytest.param(Records().credential("Set", outcome=Outcome.DENIED), 1, "has the outcome denied", id="denied"),
    pytest.param(Records().add("RequestRefused", REQUESTS, version=2), 1, "is missing", id="a version of any stream"),
    pytest.param(Records().key(KEY).key(KEY), 2, "introduced again", id="introduced twice"),
    pytest.param(
        Records().key("EncryptionKeyRetired"), 1, "retired, but is not in use", id="retired before introduced"
    ),
    pytest.param(
        Records().key(KEY).key("EncryptionKeyRetired").key("EncryptionKeyRetired"), 3, "not in use", id="retired twice"
    ),
    pytest.param(
        Records().key("KeyRotationStarted", details=ROTATION), 1, "not in use", id="a rotation to an unknown key"
    ),
    pytest.param(
        Records().key(KEY).key("EncryptionKeyRetired").key("KeyRotationStarted", details=ROTATION),
        3,
        "not in use",
        id="a rotation to a retired key",
    ),
    pytest.param(
        Records().key(KEY).key("KeyRotationStarted", details=ROTATION).key("KeyRotationStarted", details=ROTATION),
        3,
        "starts twice",
        id="a rotation that starts twice",
    ),
    pytest.param(
        Records().key(KEY).key("KeyRotationCompleted", details=ROTATION),
        2,
        "not running",
        id="an end without a start",
    ),
    pytest.param(
        Records()
        .key(KEY)
        .key("KeyRotationStarted", details=ROTATION)
        .key("KeyRotationCompleted", details=ROTATION)
        .key("KeyRotationCompleted", details=ROTATION),
        4,
        "not running",
        id="a rotation that ends twice",
    ),
    pytest.param(Records().key(KEY).key("KeyRotationStarted"), 2, "does not name its rotation", id="no rotation"),
    pytest.param(Records().key(KEY, None), 1, "does not name its encryption key", id="no key"),
    pytest.param(Records().key(KEY, stream=REQUESTS), 1, "not in the stream of the keys", id="a key elsewhere"),
    pytest.param(Records().key(KEY, outcome=Outcome.FAILED), 1, "has the outcome failed", id="a key that failed"),
    pytest.param(Records().credential("Set", position=2), 1, "says that it is record 2", id="another position"),
]


@each(("records", "position", "meaning"), CANNOT_BE)
def test_a_step_that_cannot_be_is_found_where_it_is(records, position, meaning):
    with pytest.raises(EvidenceError, match=meaning) as error:
        told(records)
    assert error.value.position == position
    assert str(error.value).startswith(f"Record {position}: ")


def test_a_key_that_was_retired_may_come_back_and_be_rotated_to():
    told(Records().key(KEY).key("EncryptionKeyRetired").key(KEY).key("KeyRotationStarted", details=ROTATION))


def test_a_leaf_that_is_no_record_is_a_fault():
    with pytest.raises(EvidenceError, match="not an audit record") as error:
        History(whole=True).tell_leaf(1, b"{}")
    assert error.value.position == 1


def test_records_of_the_whole_log_follow_each_other():
    records = story()
    history = History(whole=True)
    history.tell_leaf(1, records.leaves[0])
    with pytest.raises(EvidenceError, match="it follows record 1: records are missing"):
        history.tell_leaf(3, records.leaves[2])


def test_time_that_goes_back_is_noted_and_no_fault():
    records = Records()
    for seconds in (0, 100, 96, 90, 101, 50):
        records.add("RequestRefused", REQUESTS, time=BEGIN + timedelta(seconds=seconds))
    history = told(records)
    assert (history.steps_back, history.first_step, history.largest_step) == (2, 4, timedelta(seconds=51))
    assert told(records, tolerance=timedelta(minutes=1)).first_step is None


def test_a_tenant_sees_gaps_in_streams_that_are_shared_and_in_no_other():
    shared = Records().add("RequestRefused", REQUESTS, tenant_id=ANNA, version=3)
    shared.add("RequestRefused", REQUESTS, tenant_id=ANNA, version=7)
    told(shared, whole=False)
    own = Records().credential("Set").credential("Set", version=3)
    with pytest.raises(EvidenceError, match="is missing"):
        told(own, whole=False)
    other_kind = Records().credential("Set").credential("Rejected", version=3)
    with pytest.raises(EvidenceError, match="is missing"):
        told(other_kind, whole=False)
    backwards = Records().add("RequestRefused", REQUESTS, version=3).add("RequestRefused", REQUESTS, version=3)
    with pytest.raises(EvidenceError, match="two histories"):
        told(backwards, whole=False)


def test_a_kind_that_is_not_known_counts_in_its_stream_and_changes_nothing():
    history = told(Records().credential("Set").credential("Rejected").credential("Reencrypted"))
    assert history.not_interpreted == {"CredentialRejected": 1}


def test_the_stream_of_the_keys_is_no_credential():
    with pytest.raises(EvidenceError, match="stream of another"):
        told(Records().credential("Set", stream=KEYRING_STREAM))
