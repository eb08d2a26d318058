"""Events are authenticated by any key there is: the first one attests the log, and from then on each needs a code."""

from contextlib import closing
from itertools import cycle
from pathlib import Path

import psycopg
import pytest

from domain.errors import CredentialIntegrityError, StoreUnavailableError
from keyledger.encryption.keyring import Keyring
from keyledger.proofs.signing_keys import LogSigner, generate_signing_key
from keyledger.start_error import StartError
from tests.support.command_line import Ended, command
from tests.support.service import DIRECT_MODELS, client_of, environment, served
from tests.support.store import ENCRYPTION_KEY

SIGNING, OTHER_SIGNING = generate_signing_key("one.test"), generate_signing_key("two.test")
BY_SIGNING, BY_ENCRYPTION = LogSigner(SIGNING).code_key.key_id, Keyring(ENCRYPTION_KEY).primary_id
NEITHER: dict[str, str] = {}
SIGNED = {"AUDIT_SIGNING_KEY": SIGNING.reveal()}
ENCRYPTED = {"ENCRYPTION_KEY": ENCRYPTION_KEY.reveal()}


class Ledger:
    """One ledger, served with different keys one after the other."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self.folder = url, folder
        self._fallbacks = cycle(["deny", "allow"])

    def settings(self, keys: dict[str, str]) -> dict[str, str]:
        base = environment(
            AI_MODELS_FILE=DIRECT_MODELS, DATA_DIR=str(self.folder / "data"), TENANT_CREDENTIALS_ENABLED="false"
        )
        del base["ENCRYPTION_KEY"]
        return {**base, **keys}

    def serve(self, keys: dict[str, str]) -> dict[str, str]:
        """Serve with another policy than before, which is recorded, and return what /readyz finds wrong."""
        policy = {"GLOBAL_FALLBACK": next(self._fallbacks)}
        with served(self.url, self.settings(keys) | policy) as address, client_of(address) as client:
            checks = client.http.get("/readyz").json()["checks"]
        return {name: check["text"] for name, check in checks.items() if not check["ok"]}

    def verify(self, keys: dict[str, str]) -> Ended:
        return command(self.folder, {**self.settings(keys), "DATABASE_URL": self.url}, "verify")

    def codes(self) -> list[str | None]:
        """The key ids of the codes, in the order of the log."""
        with closing(psycopg.connect(self.url)) as connection:
            rows = connection.execute("SELECT code_key_id FROM keyledger_events ORDER BY notification_id").fetchall()
        return [row[0] for row in rows]

    def topics(self) -> list[str]:
        with closing(psycopg.connect(self.url)) as connection:
            rows = connection.execute("SELECT topic FROM keyledger_events ORDER BY notification_id").fetchall()
        return [row[0] for row in rows]

    def forge(self) -> int:
        """Insert the last change of the policy once more, without a code; return its position."""
        with psycopg.connect(self.url) as connection:
            row = connection.execute(
                "INSERT INTO keyledger_events (originator_id, originator_version, topic, state, notification_id)"
                " SELECT originator_id, originator_version + 1, topic, state,"
                "        (SELECT max(notification_id) + 1 FROM keyledger_events)"
                "   FROM keyledger_events WHERE topic = 'PolicyChanged' ORDER BY originator_version DESC LIMIT 1"
                " RETURNING notification_id"
            ).fetchone()
        assert row is not None
        return int(row[0])


@pytest.fixture
def ledger(database_url: str, tmp_path: Path) -> Ledger:
    return Ledger(database_url, tmp_path)


def test_without_any_key_events_carry_no_code_and_nothing_is_wrong(ledger: Ledger) -> None:
    assert ledger.serve(NEITHER) == {}
    assert set(ledger.codes()) == {None}
    ended = ledger.verify(NEITHER)
    assert (ended.code, "not checked" in ended.err) == (0, True), ended


@pytest.mark.parametrize(
    ("keys", "key_id"), [(SIGNED, BY_SIGNING), (ENCRYPTED, BY_ENCRYPTION)], ids=["signing", "encryption"]
)
def test_the_first_key_attests_what_is_older_and_after_it_an_event_without_a_code_is_forged(
    ledger: Ledger, keys: dict[str, str], key_id: str
) -> None:
    ledger.serve(NEITHER)
    older = len(ledger.codes())
    assert ledger.serve(keys) == {}
    codes = ledger.codes()
    assert (set(codes[:older]), set(codes[older:])) == ({None}, {key_id})
    assert ledger.verify(keys).code == 0
    forged = ledger.forge()
    ended = ledger.verify(keys)
    assert (ended.code, f"position {forged}" in ended.err) == (1, True), ended
    with pytest.raises(CredentialIntegrityError) as refused:
        ledger.serve(keys)
    assert refused.value.reason == f"event-code-missing at position {forged}"


def test_an_encryption_key_takes_over_from_the_signing_key(ledger: Ledger) -> None:
    ledger.serve(SIGNED)
    by_signing = len(ledger.codes())
    assert ledger.serve(SIGNED | ENCRYPTED) == {}
    codes = ledger.codes()
    assert (set(codes[:by_signing]), set(codes[by_signing:])) == ({BY_SIGNING}, {BY_ENCRYPTION})
    assert ledger.verify(SIGNED | ENCRYPTED).code == 0


def test_what_the_signing_key_authenticated_is_attested_by_the_first_encryption_key(ledger: Ledger) -> None:
    ledger.serve(SIGNED)
    ledger.serve(SIGNED | ENCRYPTED)
    assert ledger.serve(ENCRYPTED) == {}, "the signing key is needed no more"
    ended = ledger.verify(ENCRYPTED)
    assert ended.code == 0, ended
    ledger.serve(SIGNED | ENCRYPTED)
    assert ledger.topics().count("LogAttested") == 1, "it is attested once"


def test_a_log_with_codes_is_not_continued_without_a_key(ledger: Ledger) -> None:
    ledger.serve(SIGNED)
    with pytest.raises(StoreUnavailableError, match="configure ENCRYPTION_KEY or AUDIT_SIGNING_KEY"):
        ledger.serve(NEITHER)


def test_another_signing_key_alone_does_not_continue_the_log(ledger: Ledger) -> None:
    ledger.serve(SIGNED)
    with pytest.raises(StartError, match="Configure the former AUDIT_SIGNING_KEY"):
        ledger.serve({"AUDIT_SIGNING_KEY": OTHER_SIGNING.reveal()})


def test_an_encryption_key_alone_does_not_continue_a_log_of_a_signing_key(ledger: Ledger) -> None:
    ledger.serve(SIGNED)
    with pytest.raises(StartError, match="Configure the former AUDIT_SIGNING_KEY"):
        ledger.serve(ENCRYPTED)


def test_a_signing_key_that_is_lost_is_declared_lost_and_the_next_key_goes_on_from_there(ledger: Ledger) -> None:
    ledger.serve(SIGNED)
    lost = {"ALLOW_UNREADABLE_CREDENTIALS": "true"}
    assert ledger.serve({"AUDIT_SIGNING_KEY": OTHER_SIGNING.reveal(), **lost}) == {}
    assert ledger.serve({"AUDIT_SIGNING_KEY": OTHER_SIGNING.reveal()}) == {}
    assert ledger.verify({"AUDIT_SIGNING_KEY": OTHER_SIGNING.reveal()}).code == 0
