"""A witness: a continuation of the last checkpoint is cosigned; anything else is refused and changes nothing."""

import threading
from datetime import UTC, datetime

import pytest

from domain.proofs.merkle_tree import consistency_proof, leaf_hash
from domain.proofs.signed_note import open_note
from domain.proofs.tiles import TileBuilder, TileHashes
from keyledger.evidence import EvidenceError, Witness, verify_bundle
from keyledger.proofs.signing_keys import LogSigner, WitnessSigner, generate_signing_key, verifier_of
from tests.support.audit_records import many
from tests.support.evidence import LOG, full_bundle, signed, tenant_bundle

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
KEY = generate_signing_key("witness.example")
SIGNER = WitnessSigner(KEY, lambda: NOON)
LEAVES = many(700)
REWRITTEN = [LEAVES[0].replace(b"olga", b"otto"), *LEAVES[1:]]


@pytest.fixture
def state(tmp_path):
    return tmp_path / "state" / "log.example"


@pytest.fixture
def witness(state):
    return Witness(state, LOG.vkey, SIGNER)


def size_of(witness):
    last = witness.last()
    return last.size if last else None


def proof(older, leaves=LEAVES):
    builder = TileBuilder()
    tiles = {(row.tile.level, row.tile.index): row.hashes for row in builder.append(map(leaf_hash, leaves))}
    reader = TileHashes(len(leaves), lambda wanted: [tiles[tile.level, tile.index] for tile in wanted])
    return consistency_proof(older, len(leaves), reader)


def test_the_first_checkpoint_is_taken_on_trust_and_cosigned(witness, state):
    assert witness.last() is None
    cosigned = witness.observe(signed(LEAVES[:3]))
    _, verified = open_note(cosigned, [verifier_of(LOG.vkey), verifier_of(SIGNER.vkey)])
    assert [signature.name for signature in verified] == ["log.example", "witness.example"]
    assert size_of(witness) == 3
    assert state.read_bytes() == signed(LEAVES[:3])
    assert state.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 699])
def test_a_checkpoint_that_goes_on_from_the_last_one_is_cosigned(witness, size):
    witness.observe(signed(LEAVES[:size]))
    witness.observe(signed(LEAVES), proof(size))
    assert size_of(witness) == 700


def test_the_same_checkpoint_again_is_cosigned_again(witness):
    first = witness.observe(signed(LEAVES))
    assert witness.observe(signed(LEAVES)) == first


def test_a_bundle_is_its_own_proof(witness, tmp_path):
    witness.observe_bundle(full_bundle(tmp_path / "one", LEAVES[:300]))
    bundle = full_bundle(tmp_path / "two", LEAVES)
    (bundle / "checkpoint").write_bytes(witness.observe_bundle(bundle))
    assert verify_bundle(bundle, LOG.vkey, witnesses=[SIGNER.vkey]).holds
    assert size_of(witness) == 700


def refused(witness, state, ask, meaning):
    """Ask, be refused for this reason, and find the state as it was."""
    before = state.read_bytes()
    with pytest.raises(EvidenceError, match=meaning):
        ask(witness)
    assert state.read_bytes() == before
    assert sorted(path.name for path in state.parent.iterdir()) == ["log.example", "log.example.lock"]


@pytest.mark.parametrize(
    ("ask", "meaning"),
    [
        pytest.param(lambda one: one.observe(signed(LEAVES[:2])), "records were removed", id="a smaller one"),
        pytest.param(lambda one: one.observe(signed(LEAVES)), "not proven to extend", id="no proof"),
        pytest.param(lambda one: one.observe(signed(LEAVES), proof(4)), "not proven to extend", id="another's proof"),
        pytest.param(
            lambda one: one.observe(signed(REWRITTEN), proof(3, REWRITTEN)),
            "the log was rewritten",
            id="another history",
        ),
        pytest.param(
            lambda one: one.observe(signed(REWRITTEN[:3])), "not proven to extend", id="another of the same size"
        ),
        pytest.param(
            lambda one: one.observe(signed(LEAVES, LogSigner(generate_signing_key("log.example"))), proof(3)),
            "no trusted key",
            id="another key",
        ),
        pytest.param(lambda one: one.observe(b"nonsense"), "cannot be trusted", id="no checkpoint"),
    ],
)
def test_what_does_not_go_on_is_refused_and_changes_nothing(witness, state, ask, meaning):
    witness.observe(signed(LEAVES[:3]))
    refused(witness, state, ask, meaning)


@pytest.mark.parametrize(
    ("make", "meaning"),
    [
        pytest.param(lambda path: full_bundle(path, LEAVES[:2]), "records were removed", id="a smaller one"),
        pytest.param(lambda path: full_bundle(path, REWRITTEN), "the log was rewritten", id="another history"),
        pytest.param(lambda path: tenant_bundle(path, LEAVES), "is missing from the bundle", id="one tenant's"),
        pytest.param(lambda path: path, "checkpoint is missing", id="none"),
    ],
)
def test_a_bundle_that_does_not_go_on_is_refused_and_changes_nothing(witness, state, tmp_path, make, meaning):
    witness.observe(signed(LEAVES[:3]))
    bundle = make(tmp_path / "bundle")
    refused(witness, state, lambda one: one.observe_bundle(bundle), meaning)


def test_nothing_is_cosigned_before_it_is_remembered(witness, state, monkeypatch):
    witness.observe(signed(LEAVES[:3]))

    def full(_: object) -> None:
        raise OSError

    monkeypatch.setattr("os.fsync", full)
    before = state.read_bytes()
    with pytest.raises(OSError):
        witness.observe(signed(LEAVES), proof(3))
    assert state.read_bytes() == before
    monkeypatch.undo()
    witness.observe(signed(LEAVES), proof(3))
    assert size_of(witness) == 700


def test_a_crash_between_remembering_and_cosigning_is_mended_by_asking_again(state):
    class Dying(WitnessSigner):
        def sign(self, text: bytes) -> bytes:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Witness(state, LOG.vkey, Dying(KEY)).observe(signed(LEAVES))
    assert Witness(state, LOG.vkey, SIGNER).observe(signed(LEAVES))


def test_a_state_that_is_not_this_logs_is_told_and_left(witness, state):
    state.parent.mkdir()
    state.write_bytes(b"nonsense")
    with pytest.raises(EvidenceError, match=r"log\.example is not the last checkpoint of this log"):
        witness.observe(signed(LEAVES))
    assert state.read_bytes() == b"nonsense"


def test_two_histories_at_once_get_one_cosignature_between_them(state):
    answers = list[str]()
    ready = threading.Barrier(2)

    def ask(leaves):
        ready.wait()
        try:
            Witness(state, LOG.vkey, SIGNER).observe(signed(leaves))
            answers.append("cosigned")
        except EvidenceError:
            answers.append("refused")

    threads = [threading.Thread(target=ask, args=[leaves]) for leaves in (LEAVES, REWRITTEN)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == ["cosigned", "refused"]
