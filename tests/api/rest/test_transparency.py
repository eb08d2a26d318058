"""Checkpoints, proofs and evidence over HTTP, on ports in memory."""

import base64
import json

import pytest

from domain.access.roles import Role
from domain.errors import CheckpointRefusedError, CredentialIntegrityError, StoreUnavailableError
from domain.proofs.checkpoint import parse_checkpoint
from domain.proofs.merkle_tree import leaf_hash, verify_consistency, verify_inclusion
from domain.proofs.proofs import ProvenLeaf, signing_off
from tests.api.conftest import CREDENTIALS, KEYS, OTHER_TENANT, TENANT, Harness

AUDIT = "/api/v1/audit"
CHECKPOINT, EVIDENCE = f"{AUDIT}/checkpoint", f"{AUDIT}/evidence"
INCLUSION, CONSISTENCY = f"{AUDIT}/proof/inclusion", f"{AUDIT}/proof/consistency"


@pytest.fixture
def filled(harness: Harness) -> Harness:
    """Five changes: four of one tenant, the last of another."""
    for number in range(4):
        harness.put(api_key=f"sk-01234567{number}")
    harness.client.put(f"{CREDENTIALS}/openai".replace(TENANT, OTHER_TENANT), json={"api_key": "sk-0123456789"})
    return harness


def got(harness, path, **query):
    answer = harness.client.get(path, params=query)
    assert answer.status_code == 200, answer.text
    return answer


def read(text):
    return base64.b64decode(text, validate=True)


def lines(answer):
    return [json.loads(line) for line in answer.content.splitlines()]


def actions(harness):
    return [event.TOPIC for event in harness.log.events]


def text_of(note):
    return note.rpartition("\n\n")[0] + "\n"


class TestCheckpoint:
    def test_it_is_a_text_that_covers_what_was_acknowledged(self, filled):
        answer = got(filled, CHECKPOINT)
        assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert parse_checkpoint(text_of(answer.text)).size == 5

    def test_asking_is_not_recorded(self, filled):
        got(filled, CHECKPOINT)
        filled.recorder.flush()
        assert actions(filled) == ["CredentialSet"] * 5

    @pytest.mark.parametrize("path", [CHECKPOINT, EVIDENCE])
    @pytest.mark.parametrize(
        ("refused", "status", "code"),
        [
            (signing_off(), 404, "signing-off"),
            (CheckpointRefusedError("the log went back"), 500, "checkpoint-refused"),
            (StoreUnavailableError(), 503, "store-unavailable"),
        ],
    )
    def test_what_is_not_signed_is_a_problem(self, filled, path, refused, status, code):
        filled.transparency.refused = refused
        answer = filled.client.get(path)
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert answer.headers["Content-Type"] == "application/problem+json"


class TestProofs:
    @pytest.mark.parametrize("position", range(1, 6))
    def test_inclusion_verifies_against_the_root(self, filled, position):
        found = got(filled, INCLUSION, position=position, size=5).json()
        leaf = read(found["leaf_hash"])
        assert leaf == leaf_hash(found["leaf"].encode())
        assert json.loads(found["leaf"])["position"] == found["position"] == position
        proof = tuple(map(read, found["proof"]))
        verify_inclusion(position - 1, found["size"], leaf, proof, read(found["root"]))

    @pytest.mark.parametrize("older", range(6))
    def test_consistency_verifies_between_two_roots(self, filled, older):
        query = {"from": older, "to": 5}
        found = got(filled, CONSISTENCY, **query).json()
        assert (found["from"], found["to"]) == (older, 5)
        roots = read(found["from_root"]), read(found["to_root"])
        verify_consistency(older, 5, tuple(map(read, found["proof"])), *roots)

    def test_without_a_size_the_whole_log_is_meant(self, filled):
        assert got(filled, INCLUSION, position=1).json()["size"] == 5
        assert got(filled, CONSISTENCY, **{"from": 2}).json()["to"] == 6, "showing a record was recorded meanwhile"

    def test_showing_a_record_is_recorded_and_showing_hashes_is_not(self, filled):
        got(filled, CONSISTENCY, **{"from": 2})
        assert actions(filled) == ["CredentialSet"] * 5
        got(filled, INCLUSION, position=1)
        assert (actions(filled)[-1], filled.log.events[-1].view) == ("AuditRead", "proof")

    @pytest.mark.parametrize(
        ("path", "query"),
        [
            (INCLUSION, {"position": 6}),
            (INCLUSION, {"position": 5, "size": 4}),
            (INCLUSION, {"position": 1, "size": 6}),
            (CONSISTENCY, {"from": 6}),
            (CONSISTENCY, {"from": 1, "to": 6}),
        ],
    )
    def test_beyond_the_log_there_is_no_proof(self, filled, path, query):
        answer = filled.client.get(path, params=query)
        assert (answer.status_code, answer.json()["code"]) == (404, "no-such-proof")

    @pytest.mark.parametrize(
        ("path", "query", "field"),
        [
            (INCLUSION, {}, "position"),
            (INCLUSION, {"position": 0}, "position"),
            (INCLUSION, {"position": "x"}, "position"),
            (INCLUSION, {"position": 1, "size": -1}, "size"),
            (CONSISTENCY, {}, "from"),
            (CONSISTENCY, {"from": -1}, "from"),
            (CONSISTENCY, {"from": 1, "to": 2**64}, "to"),
            (CHECKPOINT, {"size": 1}, "size"),
            (EVIDENCE, {"tenant_id": "acme"}, "tenant_id"),
            (EVIDENCE, {"tenant": TENANT}, "tenant"),
        ],
    )
    def test_what_cannot_be_asked_is_named(self, filled, path, query, field):
        answer = filled.client.get(path, params=query)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid-request")
        assert [error["field"] for error in answer.json()["errors"]] == [field]


class TestEvidence:
    def test_the_whole_log_is_given_with_its_hashes_and_without_proofs(self, filled):
        answer = got(filled, EVIDENCE)
        head, *leaves, end = lines(answer)
        assert answer.headers["Content-Type"] == "application/jsonl"
        assert "attachment" in answer.headers["Content-Disposition"]
        assert (head["size"], head["tenant_id"]) == (6, None)
        assert [leaf["position"] for leaf in leaves] == list(range(1, 7))
        assert [read(leaf["hash"]) for leaf in leaves] == [leaf_hash(leaf["leaf"].encode()) for leaf in leaves]
        assert all(leaf["proof"] == [] for leaf in leaves)
        assert end == {"end": 6}

    def test_the_last_leaf_says_that_evidence_was_taken(self, filled):
        *_, last, _ = lines(got(filled, EVIDENCE, tenant_id=TENANT))
        assert json.loads(last["leaf"])["tenant_id"] == TENANT
        taken = filled.log.events[-1]
        assert (taken.TOPIC, taken.format, taken.query) == ("AuditExported", "evidence", f"tenant:{TENANT}")

    def test_one_tenants_leaves_are_each_proven_and_nobody_elses_given(self, filled):
        answer = got(filled, EVIDENCE, tenant_id=OTHER_TENANT)
        head, leaf, end = lines(answer)
        root = parse_checkpoint(text_of(head["checkpoint"])).root
        verify_inclusion(4, head["size"], read(leaf["hash"]), tuple(map(read, leaf["proof"])), root)
        assert end == {"end": 1}
        assert TENANT not in answer.text

    def test_one_that_cannot_be_recorded_is_not_given(self, filled, monkeypatch):
        def fail(events):
            raise StoreUnavailableError

        monkeypatch.setattr(filled.log, "append", fail)
        assert filled.client.get(EVIDENCE).status_code == 503

    def test_a_fault_in_the_middle_is_told_as_a_line_and_there_is_no_end(self, filled, monkeypatch):
        def damaged(size, tenant_id):
            yield ProvenLeaf(1, "{}", b"\0" * 32)
            raise CredentialIntegrityError("event-missing at position 2")

        monkeypatch.setattr(filled.transparency, "evidence", damaged)
        _, _, error = lines(got(filled, EVIDENCE))
        assert error["after"] == 1
        assert error["fault"]["code"] == "credential-integrity"

    def test_a_leaf_that_the_tree_lacks_has_no_hash(self, filled, monkeypatch):
        monkeypatch.setattr(filled.transparency, "evidence", lambda size, tenant: iter([ProvenLeaf(1, "{}", None)]))
        _, leaf, _ = lines(got(filled, EVIDENCE))
        assert leaf["hash"] is None


@pytest.mark.parametrize("path", [CHECKPOINT, EVIDENCE, f"{INCLUSION}?position=1", f"{CONSISTENCY}?from=1"])
@pytest.mark.parametrize("role", KEYS)
def test_auditors_and_sysadmins_may(filled, path, role):
    answer = filled.client.get(path, headers={"X-API-Key": KEYS[role]})
    assert answer.status_code == (200 if role in {Role.AUDITOR, Role.SYSADMIN} else 403)
