"""The life of encryption keys."""

from domain.credentials.commands import ReencryptCredential
from domain.errors import CredentialNotFoundError, ErrorCode, UnreadableCredentialError
from domain.operations.encryption_keys import (
    EncryptionKeyIntroduced,
    Keys,
    RotationCounts,
    complete_rotation,
    introduce,
    replay,
    retire,
    start_rotation,
)
from tests.support.errors import raises
from tests.support.scenario import KEY, NOW, TENANT, ClearSealer, given, meta, set_credential, was_deleted, was_set

OLD, NEW = "k0000000001", "k0000000002"


def introduced(*key_ids: str) -> list[EncryptionKeyIntroduced]:
    return introduce(Keys(), key_ids, meta(), NOW)


def test_keys_are_introduced_once() -> None:
    events = introduced(OLD, NEW)
    assert [(event.key_id, event.originator_version) for event in events] == [(OLD, 1), (NEW, 2)]
    assert introduce(replay(events), [NEW, OLD], meta(), NOW) == []


def test_a_key_is_retired_once() -> None:
    events = introduced(OLD)
    retired = retire(replay(events), OLD, 7, meta(), NOW)
    assert (retired.originator_version, retired.unrecoverable) == (2, 7)
    with raises(ErrorCode.KEY_NOT_RETIRABLE, match="retired already"):
        retire(replay([*events, retired]), OLD, 7, meta(), NOW)


def test_a_key_the_log_does_not_know_is_not_retired() -> None:
    with raises(ErrorCode.KEY_NOT_RETIRABLE, match="does not know"):
        retire(replay(introduced(OLD)), NEW, 0, meta(), NOW)


def test_a_rotation_is_recorded_with_its_counts() -> None:
    keys = replay(introduced(OLD, NEW))
    begun = start_rotation(keys, "r-1", NEW, 3, meta(), NOW)
    ended = complete_rotation(replay([*introduced(OLD, NEW), begun]), begun, RotationCounts(2, 1, 0), meta(), NOW)
    assert (begun.originator_version, ended.originator_version) == (3, 4)
    assert (ended.rotation_id, ended.reencrypted, ended.skipped, ended.failed) == ("r-1", 2, 1, 0)


def reencrypt() -> ReencryptCredential:
    return ReencryptCredential(TENANT, "openai", meta())


def test_a_credential_under_the_primary_key_is_left_alone() -> None:
    given(was_set(1)).when(reencrypt()).then_nothing()


def test_a_credential_that_is_not_there_is_not_reencrypted() -> None:
    given().when(reencrypt()).then_refused(CredentialNotFoundError)
    given(was_set(1), was_deleted(2)).when(reencrypt()).then_refused(CredentialNotFoundError)


def test_a_credential_that_cannot_be_opened_is_not_reencrypted() -> None:
    given(was_set(1, sealer=ClearSealer("k0000000099"))).when(reencrypt()).then_refused(UnreadableCredentialError)


def test_a_set_after_a_reencryption_with_the_same_key_changes_nothing() -> None:
    given(was_set(1)).when(set_credential(KEY)).then_nothing()
