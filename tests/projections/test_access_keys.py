"""The rows of access keys follow from the log; a row that someone changed admits nothing, and is found."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from domain.access.access_key import AccessTerms
from domain.access.admission import KeyReader
from domain.access.token import digest_of
from domain.credentials.admission import TokenRow
from domain.credentials.commands import Precondition
from domain.credentials.secret import Secret
from domain.errors import CredentialIntegrityError, ErrorCode
from domain.events.event_code import NO_CODES
from keyledger.store_verification import verify_snapshot
from projections.access_keys import PostgresTokens
from projections.database.pipelines import Pipelines
from projections.replay.replaying import replay_projection
from tests.support.errors import raises
from tests.support.issued_keys import access_keys_of, issue, meta_of_keys, reader_of
from tests.support.store import Store

ANY = Precondition()


def digest(token: Secret | None) -> str:
    assert token is not None
    return digest_of(token.reveal().encode())


def read(store: Store, *digests: str) -> Sequence[TokenRow | None]:
    """The rows that an event loop reads for tokens, all at once."""

    async def reads() -> Sequence[TokenRow | None]:
        async with Pipelines(store.url) as pipelines:
            tokens = PostgresTokens(pipelines.calls)
            return await asyncio.gather(*map(tokens.read, digests))

    return asyncio.run(reads())


def name_of(store: Store, token: str) -> str:
    (row,) = read(store, token)
    return reader_of(store).usable(token, row).name


def verified(store: Store, tmp_path: Path) -> str:
    """The part that the verification complains about, "" for none."""
    store.follow()
    with store.pool.connection() as connection, connection.transaction():
        verdict = verify_snapshot(connection, store.keyring, tmp_path, keys=store.keyring.code_keys)
    return verdict.error.part if verdict.error else ""


def test_a_token_leads_to_its_key_and_an_unknown_one_to_none(store: Store) -> None:
    one, other = digest(issue(store, "one").token), digest(issue(store, "other").token)
    first, none, second = read(store, one, "f" * 64, other)
    reader = reader_of(store)
    assert (reader.usable(one, first).name, none, reader.usable(other, second).name) == ("one", None, "other")


def test_a_key_is_obeyed_at_each_of_its_versions(store: Store) -> None:
    keys, first = access_keys_of(store), digest(issue(store).token)
    assert name_of(store, first) == "app"
    second = digest(keys.rotate("app", None, meta_of_keys(), ANY).token)
    assert name_of(store, second) == "app"
    with raises(ErrorCode.ACCESS_KEY_REFUSED, match="no such"):
        name_of(store, first)
    keys.revoke("app", meta_of_keys(), ANY)
    with raises(ErrorCode.ACCESS_KEY_REFUSED, match="was revoked"):
        name_of(store, second)


def test_both_tokens_lead_to_a_key_while_they_overlap(store: Store) -> None:
    first = digest(issue(store).token)
    soon = access_keys_of(store).named("app").changed_at + timedelta(hours=1)
    second = digest(access_keys_of(store).rotate("app", soon, meta_of_keys(), ANY).token)
    assert [name_of(store, first), name_of(store, second)] == ["app", "app"]


def test_keys_are_listed_by_name_in_pages(store: Store) -> None:
    for name in ("b", "A", "c", "a"):
        issue(store, name)
    keys = access_keys_of(store)
    assert [key.name for key in keys.page("", 3)] == ["A", "a", "b"]
    assert [key.name for key in keys.page("b", 3)] == ["c"]


DAMAGE = [
    pytest.param("UPDATE access_keys SET version = 1", "view-not-at-head", id="an earlier version put back"),
    pytest.param("UPDATE access_keys SET digest = repeat('e', 64)", "view-not-at-head", id="another digest"),
    pytest.param(
        "UPDATE access_keys SET previous = repeat('e', 64)", "view-not-at-head", id="a digest as the former one"
    ),
    pytest.param("UPDATE access_keys SET stream_id = gen_random_uuid()", "stream-missing", id="another stream"),
    pytest.param(
        "UPDATE access_keys SET stream_id = (SELECT originator_id FROM keyledger_events"
        " WHERE topic = 'CredentialSet' LIMIT 1)",
        "stream-of-something-else",
        id="the stream of a credential",
    ),
]


@pytest.mark.parametrize(("damage", "reason"), DAMAGE)
def test_a_row_that_someone_changed_admits_nothing_and_is_found(
    store: Store, tmp_path: Path, damage: str, reason: str
) -> None:
    store.set("11111111-1111-4111-8111-111111111111", "openai", "sk-live-0123456789")
    issue(store)
    token = digest(access_keys_of(store).rotate("app", None, meta_of_keys(), ANY).token)
    assert verified(store, tmp_path) == ""
    with store.superuser() as database:
        database.execute(damage.encode())
    wanted = "e" * 64 if "repeat" in damage else token
    with pytest.raises(CredentialIntegrityError, match=reason):
        name_of(store, wanted)
    assert verified(store, tmp_path) == "access"
    assert replay_projection(store.url, "access_keys").difference_count > 0


def test_a_row_taken_away_or_added_is_found(store: Store, tmp_path: Path) -> None:
    issue(store)
    with store.superuser() as database:
        database.execute("INSERT INTO access_keys SELECT 'more', 1, repeat('e', 64), NULL, gen_random_uuid()")
        assert verified(store, tmp_path) == "access"
        database.execute("DELETE FROM access_keys")
    assert verified(store, tmp_path) == "access"


def test_a_revoked_key_that_someone_puts_back_stays_revoked(store: Store) -> None:
    token = digest(issue(store).token)
    with store.superuser() as database:
        (before,) = database.execute("SELECT * FROM access_keys").fetchall()
        access_keys_of(store).revoke("app", meta_of_keys(), ANY)
        database.execute("UPDATE access_keys SET version = %s", [before["version"]])
        with pytest.raises(CredentialIntegrityError, match="view-not-at-head"):
            name_of(store, token)
        database.execute("UPDATE access_keys SET version = version + 1")
    with raises(ErrorCode.ACCESS_KEY_REFUSED, match="was revoked"):
        name_of(store, token)


def test_a_state_that_anyone_could_have_written_does_not_become_the_ledgers_own(store: Store) -> None:
    issue(store)
    with store.superuser() as database:
        database.execute(
            "INSERT INTO keyledger_events SELECT originator_id, originator_version + 1, topic,"
            " convert_to(replace(convert_from(state, 'UTF8'), '\"runtime\"', '\"sysadmin\"'), 'UTF8'),"
            " notification_id + 1, 'k0123456789', code FROM keyledger_events WHERE topic = 'AccessKeyCreated'"
        )
    for change in (
        lambda keys: keys.change("app", AccessTerms(), meta_of_keys(), ANY),
        lambda keys: keys.rotate("app", None, meta_of_keys(), ANY),
    ):
        with pytest.raises(CredentialIntegrityError, match="event-code"):
            change(access_keys_of(store))


FORGED = "INSERT INTO keyledger_events SELECT originator_id, originator_version + 1, topic, state, notification_id + 1"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        pytest.param("code_key_id, code", "event-code-wrong", id="with the code of another event"),
        pytest.param("NULL, NULL", "event-code-missing", id="without a code"),
        pytest.param("'k0123456789', code", "event-code-under-a-key", id="under a key that no one has"),
    ],
)
def test_an_event_that_no_holder_of_the_keys_wrote_admits_nothing(store: Store, code: str, reason: str) -> None:
    token = digest(issue(store).token)
    with store.superuser() as database:
        database.execute(f"{FORGED}, {code} FROM keyledger_events WHERE topic = 'AccessKeyCreated'".encode())
        database.execute("UPDATE access_keys SET version = version + 1")
    with pytest.raises(CredentialIntegrityError, match=reason):
        name_of(store, token)


def test_a_node_without_a_key_of_the_ledger_admits_no_access_key(store: Store) -> None:
    token = digest(issue(store).token)
    (row,) = read(store, token)
    honest = reader_of(store)
    assert row is not None
    assert honest.usable(token, row).name == "app"
    with pytest.raises(CredentialIntegrityError, match="event-code-unchecked"):
        KeyReader(lambda: NO_CODES, honest._decode, honest._clock).usable(token, row)


def test_a_replay_makes_the_same_rows(store: Store) -> None:
    keys = access_keys_of(store)
    for name in ("one", "two", "three"):
        issue(store, name)
    keys.rotate("two", None, meta_of_keys(), ANY)
    keys.revoke("three", meta_of_keys(), ANY)
    result = replay_projection(store.url, "access_keys")
    assert (result.rows, result.difference_count, result.swapped) == (3, 0, True)
    token = digest(keys.rotate("one", None, meta_of_keys(), ANY).token)
    assert name_of(store, token) == "one"
