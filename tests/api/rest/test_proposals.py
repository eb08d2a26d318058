"""Commands that need a second person: proposed on their own routes, decided once, by someone else."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from api.front.auth import Authenticator, format_named_key, may, parse_named_key
from domain.access.roles import Role
from domain.access.token import digest_of
from domain.approvals.needs import Approval
from domain.approvals.proposal import ProposalApproved, ProposalLapsed, ProposalMade, ProposalRejected
from domain.credentials.secret import Secret
from domain.events.event import CommandMeta
from domain.operations.encryption_keys import KEYRING_STREAM, introduce, replay
from tests.api.conftest import CREDENTIALS, KEYS, START, SUPER_KEY, TENANT, Harness
from tests.support.each import each

PROPOSALS = "/api/v1/sysadmin/proposals"
KEYS_PATH = "/api/v1/sysadmin/access-keys"
TENANT_PATH = f"/api/v1/sysadmin/tenants/{TENANT}"
RETIRE = "/api/v1/sysadmin/encryption-keys/kabcdef0123/retire"
OWN = f"/api/v1/tenants/{TENANT}/credentials/openai"
ALL = frozenset(Approval)
OTHER = {"X-API-Key": KEYS[Role.SYSADMIN]}
"""A key of the settings that is not the client's own."""
EXPIRY = "2026-06-30T12:00:00Z"


class Stage(Harness):
    """The application with everything in APPROVALS, a credential, a frozen tenant and an encryption key to retire."""

    def __post_init__(self) -> None:
        super().__post_init__()
        assert self.put().status_code == 200
        self.made = self.create("chief", "sysadmin").json()
        by = CommandMeta("service", "req-0", "introduced")
        self.log.append(introduce(replay(self.log.stream(KEYRING_STREAM)), ["kabcdef0123"], by, START))
        self.log.approvals = ALL

    def create(self, name: str, role: str, **headers: str) -> Any:
        return self.client.post(KEYS_PATH, json={"name": name, "role": role, "expires_at": EXPIRY}, headers=headers)

    def freeze(self) -> None:
        assert self.client.post(f"{TENANT_PATH}/freeze").status_code == 200

    def decide(self, proposal_id: str, how: str = "approve", **headers: str) -> Any:
        return self.client.post(f"{PROPOSALS}/{proposal_id}/{how}", headers=OTHER | headers)

    def kinds(self) -> list[str]:
        return [event.TOPIC for event in self.log.events]

    def delete(self, **headers: str) -> Any:
        return self.client.delete(f"{CREDENTIALS}/openai", headers=headers)

    def proposed(self, **headers: str) -> str:
        answer = self.delete(**headers)
        assert answer.status_code == 202, answer.text
        found: str = answer.json()["proposal_id"]
        return found


@pytest.fixture
def stage() -> Iterator[Stage]:
    yield Stage()


Send = Callable[[Stage], Any]
COMMANDS: dict[str, tuple[str, str, Send]] = {
    "delete": ("delete", "CredentialDeleted", lambda one: one.delete()),
    "policy": (
        "policy",
        "TenantPolicyChanged",
        lambda one: one.client.put(f"{TENANT_PATH}/policy", json={"fallback": "deny"}),
    ),
    "thaw": ("thaw", "TenantThawed", lambda one: one.client.post(f"{TENANT_PATH}/thaw")),
    "create a key": ("access-keys", "AccessKeyCreated", lambda one: one.create("second", "sysadmin")),
    "change a key": (
        "access-keys",
        "AccessKeyChanged",
        lambda one: one.client.patch(f"{KEYS_PATH}/chief", json={"networks": ["192.0.2.0/24"]}),
    ),
    "rotate a key": (
        "access-keys",
        "AccessKeyRotated",
        lambda one: one.client.post(f"{KEYS_PATH}/chief/rotate", json={"old_token_until": None}),
    ),
    "retire": ("retire", "EncryptionKeyRetired", lambda one: one.client.post(RETIRE)),
}


def _prepared(name: str) -> Stage:
    stage = Stage()
    if name == "thaw":
        stage.freeze()
    return stage


@each("name", COMMANDS)
def test_a_command_becomes_a_proposal_and_changes_nothing_until_another_approves(name: str) -> None:
    command, effect, send = COMMANDS[name]
    stage = _prepared(name)
    before = len(stage.log.events)
    answer = send(stage)
    assert answer.status_code == 202, answer.text
    shown = answer.json()
    assert answer.headers["Location"] == f"{PROPOSALS}/{shown['proposal_id']}"
    assert answer.headers["ETag"] == '"v1"'
    assert (shown["command"], shown["wants"], shown["state"]) == (command, effect, "open")
    assert shown["proposed_by"] == "super"
    assert stage.kinds()[before:] == ["ProposalMade"]
    approved = stage.decide(shown["proposal_id"], **{"X-Audit-Reason": "seen"})
    assert approved.status_code == 200, approved.text
    assert (approved.json()["state"], approved.json()["decided_by"]) == ("approved", "sysadmin-1")
    assert approved.json()["decision_reason"] == "seen"
    assert stage.kinds()[before:] == ["ProposalMade", "ProposalApproved", effect]
    made, decided, done = stage.log.events[before:]
    assert (done.actor, decided.actor) == ("super", "sysadmin-1")
    assert done.causation_id == decided.causation_id == shown["proposal_id"]
    assert done.command_id == made.command_id
    assert done.request_id == decided.request_id


@each("name", COMMANDS)
def test_without_approvals_a_command_is_carried_out_at_once(name: str) -> None:
    _, effect, send = COMMANDS[name]
    stage = _prepared(name)
    stage.log.approvals = frozenset()
    before = len(stage.log.events)
    assert send(stage).status_code in {200, 201}
    assert stage.kinds()[before:] == [effect]


@each("name", COMMANDS)
def test_what_approvals_does_not_name_is_carried_out_at_once(name: str) -> None:
    command, effect, send = COMMANDS[name]
    stage = _prepared(name)
    stage.log.approvals = ALL - {Approval(command)}
    assert send(stage).status_code in {200, 201}
    assert stage.kinds()[-1] == effect


def test_keys_of_other_roles_revoking_and_freezing_never_wait(stage: Stage) -> None:
    assert stage.create("app", "runtime").status_code == 201
    assert stage.client.post(f"{KEYS_PATH}/app/rotate", json={"old_token_until": None}).status_code == 200
    assert stage.client.delete(f"{KEYS_PATH}/chief").status_code == 200
    stage.freeze()
    assert stage.client.put(TENANT_PATH, json={"name": "Acme"}).status_code == 200


def test_a_command_that_changes_nothing_or_fails_is_not_proposed(stage: Stage) -> None:
    before = len(stage.log.events)
    assert stage.client.post(f"{TENANT_PATH}/thaw").json()["changed"] is False
    assert stage.client.delete(f"{CREDENTIALS}/mistral").status_code == 404
    assert stage.delete(**{"If-Match": '"v9"'}).status_code == 412
    assert stage.create("chief", "sysadmin").status_code == 409
    assert len(stage.log.events) == before


def test_a_tenants_admin_needs_a_second_person_too_and_may_not_decide(stage: Stage) -> None:
    stage.log.approvals = frozenset()
    body = {"name": "admin", "role": "tenant-admin", "tenants": [TENANT], "expires_at": EXPIRY}
    token = stage.client.post(KEYS_PATH, json=body).json()["token"]
    stage.log.approvals = ALL
    answer = stage.client.delete(OWN, headers={"X-API-Key": token})
    assert (answer.status_code, answer.json()["proposed_by"]) == (202, "admin")
    proposal_id = answer.json()["proposal_id"]
    assert stage.client.get(f"{PROPOSALS}/{proposal_id}", headers={"X-API-Key": token}).status_code == 403
    assert stage.decide(proposal_id, **{"X-API-Key": token}).status_code == 403
    own = stage.decide(proposal_id, **{"X-API-Key": SUPER_KEY})
    assert (own.status_code, own.json()["code"]) == (403, "own-proposal"), "super made the admin's key"
    assert stage.decide(proposal_id).status_code == 200


def test_each_role_sees_and_decides_as_the_grants_say() -> None:
    routes = {("GET", PROPOSALS): {"sysadmin", "auditor"}}
    routes |= {("GET", f"{PROPOSALS}/one"): {"sysadmin", "auditor"}}
    routes |= {("POST", f"{PROPOSALS}/one/{how}"): {"sysadmin"} for how in ("approve", "reject")}
    routes |= {("POST", RETIRE): {"sysadmin"}}
    for (method, path), allowed in routes.items():
        assert {role.value for role in Role if may(role, method, path)} == allowed, path


def test_other_roles_decide_nothing(stage: Stage) -> None:
    proposal_id = stage.proposed()
    for key in (key for role, key in KEYS.items() if role != Role.SYSADMIN):
        for how in ("approve", "reject"):
            assert stage.decide(proposal_id, how, **{"X-API-Key": key}).status_code == 403
    assert stage.client.get(f"{PROPOSALS}/{proposal_id}").json()["state"] == "open"


def test_a_key_that_is_limited_to_a_tenant_decides_nothing(stage: Stage) -> None:
    stage.log.approvals = frozenset()
    body = {"name": "limited", "role": "sysadmin", "tenants": [TENANT], "expires_at": EXPIRY}
    token = stage.client.post(KEYS_PATH, json=body, headers=OTHER).json()["token"]
    stage.log.approvals = ALL
    proposal_id = stage.proposed()
    for method, path in (("POST", f"{proposal_id}/approve"), ("POST", f"{proposal_id}/reject"), ("GET", proposal_id)):
        answer = stage.client.request(method, f"{PROPOSALS}/{path}", headers={"X-API-Key": token})
        assert (answer.status_code, answer.json()["code"]) == (403, "outside-scope")
    assert stage.client.get(f"{PROPOSALS}/{proposal_id}").json()["state"] == "open"


def test_a_command_id_is_for_one_decision(stage: Stage) -> None:
    proposal_id, once = stage.proposed(), {"Idempotency-Key": "decided"}
    assert stage.decide(proposal_id, "reject", **once).status_code == 200
    assert stage.decide(proposal_id, "reject", **once).json()["state"] == "rejected"
    other = stage.decide(proposal_id, "approve", **once)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency-key-reused")


def test_no_one_approves_a_proposal_of_their_own_but_may_withdraw_it(stage: Stage) -> None:
    proposal_id = stage.proposed()
    before = len(stage.log.events)
    own = stage.decide(proposal_id, **{"X-API-Key": SUPER_KEY})
    assert (own.status_code, own.json()["code"]) == (403, "own-proposal")
    handed_out = stage.decide(proposal_id, **{"X-API-Key": stage.made["token"]})
    assert (handed_out.status_code, handed_out.json()["code"]) == (403, "own-proposal"), "super made that key"
    assert len(stage.log.events) == before
    withdrawn = stage.decide(proposal_id, "reject", **{"X-API-Key": SUPER_KEY})
    assert (withdrawn.status_code, withdrawn.json()["state"]) == (200, "rejected")
    late = stage.decide(proposal_id)
    assert (late.status_code, late.json()["code"]) == (409, "proposal-decided")
    assert isinstance(stage.log.events[-1], ProposalRejected)


def test_a_key_of_the_settings_keeps_its_name_when_it_is_rotated(stage: Stage) -> None:
    proposal_id = stage.proposed(**OTHER)
    line = format_named_key("sysadmin-1", Role.SYSADMIN, Secret("another-key-0123456789"))
    object.__setattr__(stage.services, "authenticator", Authenticator(Secret(SUPER_KEY), [parse_named_key(line)]))
    own = stage.decide(proposal_id, **{"X-API-Key": "another-key-0123456789"})
    assert (own.status_code, own.json()["code"]) == (403, "own-proposal")


def test_an_access_key_that_was_proposed_works_once_it_is_approved_with_the_token_of_the_proposal(stage: Stage) -> None:
    answer = stage.create("second", "sysadmin")
    token = answer.json()["token"]
    assert stage.client.get(KEYS_PATH, headers={"X-API-Key": token}).status_code == 401
    shown = stage.client.get(f"{PROPOSALS}/{answer.json()['proposal_id']}").json()
    assert "token" not in shown
    assert digest_of(token.encode()) not in str(shown)
    assert not any(token in str(event) for event in stage.log.events)
    assert stage.decide(answer.json()["proposal_id"]).status_code == 200
    assert stage.client.get(KEYS_PATH, headers={"X-API-Key": token}).status_code == 200


def test_the_person_who_proposed_a_key_cannot_approve_with_it(stage: Stage) -> None:
    answer = stage.create("second", "sysadmin").json()
    assert stage.decide(answer["proposal_id"]).status_code == 200
    own = stage.decide(stage.proposed(), **{"X-API-Key": answer["token"]})
    assert (own.status_code, own.json()["code"]) == (403, "own-proposal")
    mine = stage.proposed(**OTHER)  # the one who only approved that key never had its token
    assert stage.decide(mine, **{"X-API-Key": answer["token"]}).status_code == 200


def test_a_repeated_command_finds_its_proposal_and_after_its_approval_its_effect(stage: Stage) -> None:
    key = {"Idempotency-Key": "once"}
    first, again = stage.create("second", "sysadmin", **key), stage.create("second", "sysadmin", **key)
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json()["proposal_id"] == again.json()["proposal_id"]
    assert (first.json()["token"] is None, again.json()["token"] is None) == (False, True)
    other = stage.client.post(KEYS_PATH, json={"name": "second", "role": "sysadmin"}, headers=key)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency-key-reused")
    assert stage.kinds().count("ProposalMade") == 1
    decision = {"Idempotency-Key": "decided"}
    for _ in range(2):
        assert stage.decide(first.json()["proposal_id"], **decision).status_code == 200
    assert stage.kinds().count("AccessKeyCreated") == 2
    assert stage.create("second", "sysadmin", **key).status_code == 201
    assert stage.kinds().count("AccessKeyCreated") == 2


def test_a_proposal_for_a_version_that_moved_on_lapses(stage: Stage) -> None:
    proposal_id = stage.proposed()
    assert stage.put(api_key="sk-another-0123456789").status_code == 200
    late = stage.decide(proposal_id)
    assert (late.status_code, late.json()["code"]) == (409, "proposal-lapsed")
    assert isinstance(stage.log.events[-1], ProposalLapsed)
    shown = stage.client.get(f"{PROPOSALS}/{proposal_id}").json()
    assert (shown["state"], shown["lapsed_because"]) == ("lapsed", "changed")
    assert stage.client.get(f"{CREDENTIALS}/openai").status_code == 200
    assert stage.decide(proposal_id).json()["code"] == "proposal-lapsed"
    assert stage.kinds().count("ProposalLapsed") == 1


def test_a_proposal_lapses_when_its_time_is_over(stage: Stage) -> None:
    proposal_id = stage.proposed()
    stage.later(timedelta(hours=24).total_seconds())
    assert stage.client.get(f"{PROPOSALS}/{proposal_id}").json()["lapsed_because"] == "expired"
    assert stage.decide(proposal_id).json()["code"] == "proposal-lapsed"
    assert isinstance(stage.log.events[-1], ProposalLapsed)
    assert "CredentialDeleted" not in stage.kinds()


@pytest.mark.parametrize("made_again", [False, True])
def test_a_proposal_of_a_key_that_was_revoked_lapses(stage: Stage, made_again: bool) -> None:
    stage.log.approvals = frozenset()
    token = stage.create("leaked", "sysadmin").json()["token"]
    stage.log.approvals = ALL
    proposal_id = stage.proposed(**{"X-API-Key": token})
    assert stage.client.delete(f"{KEYS_PATH}/leaked").status_code == 200
    if made_again:
        stage.log.approvals = frozenset()
        assert stage.create("leaked", "sysadmin").status_code == 201
    assert stage.decide(proposal_id).status_code == 409
    assert stage.client.get(f"{PROPOSALS}/{proposal_id}").json()["lapsed_because"] == "proposer-revoked"


def test_a_proposal_of_someone_who_was_erased_lapses(stage: Stage) -> None:
    proposal_id = stage.proposed()
    stage.listed.erased.add("super")
    assert stage.decide(proposal_id).status_code == 409
    shown = stage.client.get(f"{PROPOSALS}/{proposal_id}").json()
    assert (shown["lapsed_because"], shown["proposed_by"]) == ("proposer-erased", None)


def test_a_leaked_key_of_a_frozen_tenant_is_deleted_by_two_people(stage: Stage) -> None:
    stage.freeze()
    assert stage.decide(stage.proposed()).status_code == 200
    assert stage.client.get(f"{TENANT_PATH}/credentials").json()["credentials"] == []


def test_a_deletion_that_a_frozen_tenants_own_admin_proposed_waits_for_its_thaw(stage: Stage) -> None:
    body = {"name": "admin", "role": "tenant-admin", "tenants": [TENANT], "expires_at": EXPIRY}
    token = stage.client.post(KEYS_PATH, json=body).json()["token"]
    proposal_id = stage.client.delete(OWN, headers={"X-API-Key": token}).json()["proposal_id"]
    stage.freeze()
    assert stage.decide(proposal_id).status_code == 423
    assert stage.client.get(f"{PROPOSALS}/{proposal_id}").json()["state"] == "open"
    thaw = stage.client.post(f"{TENANT_PATH}/thaw").json()["proposal_id"]
    assert stage.decide(thaw).status_code == 200
    assert stage.decide(proposal_id).status_code == 200


def test_a_proposal_stays_a_proposal_when_approvals_is_emptied(stage: Stage) -> None:
    proposal_id = stage.proposed()
    stage.log.approvals = frozenset()
    assert stage.decide(proposal_id, **{"X-API-Key": SUPER_KEY}).json()["code"] == "own-proposal"
    assert stage.decide(proposal_id).status_code == 200


def test_a_decision_is_for_the_version_that_it_names(stage: Stage) -> None:
    proposal_id = stage.proposed()
    assert stage.decide(proposal_id, **{"If-Match": '"v2"'}).status_code == 412
    assert stage.decide(proposal_id, **{"If-Match": '"v1"'}).headers["ETag"] == '"v2"'


@each("fault", ["outage before the effect", "outage after the effect", "conflict after the effect"])
@each("how", ["approve", "reject"])
def test_a_decision_whose_answer_is_lost_is_made_once(fault: str, how: str) -> None:
    stage = Stage()
    proposal_id = stage.proposed()
    before = len(stage.log.events)
    stage.log.errors.append(fault)
    assert stage.decide(proposal_id, how).status_code == 200
    expected = ["ProposalApproved", "CredentialDeleted"] if how == "approve" else ["ProposalRejected"]
    assert stage.kinds()[before:] == expected


@each("fault", ["outage before the effect", "outage after the effect", "conflict after the effect"])
def test_a_proposal_whose_answer_is_lost_is_made_once(fault: str) -> None:
    stage = Stage()
    send = stage.log.errors
    # The first append is that of the command, which never reaches the store.
    send.append(fault)
    stage.proposed()
    assert stage.kinds().count("ProposalMade") == 1


def test_one_of_two_decisions_at_once_counts(stage: Stage) -> None:
    proposal_id = stage.proposed()
    proposals = stage.services.proposals
    by = CommandMeta("carol", "req-9", "other", role="sysadmin")
    state = proposals.show(proposal_id).proposal
    from domain.approvals.proposal import reject

    stage.log.interlopers.append(reject(state, by, START))
    late = stage.decide(proposal_id)
    assert (late.status_code, late.json()["code"]) == (409, "proposal-decided")
    assert "CredentialDeleted" not in stage.kinds()


def test_proposals_are_listed_in_order_with_filters_and_pages(stage: Stage) -> None:
    first = stage.proposed()
    second = stage.client.put(f"{TENANT_PATH}/policy", json={"fallback": "deny"}).json()["proposal_id"]
    third = stage.create("second", "sysadmin").json()["proposal_id"]
    stage.decide(first, "reject")

    def listed(**query: str) -> list[str]:
        answer = stage.client.get(PROPOSALS, params=query)
        assert answer.status_code == 200, answer.text
        return [one["proposal_id"] for one in answer.json()["proposals"]]

    assert listed() == [first, second, third]
    assert listed(proposal_state="open") == [second, third]
    assert listed(proposal_state="rejected") == [first]
    assert listed(command="access-keys") == [third]
    assert listed(tenant_id=TENANT) == [first, second]
    page = stage.client.get(PROPOSALS, params={"limit": "2"})
    assert 'rel="next"' in page.headers["Link"]
    assert listed(after=str(page.json()["next"]), limit="2") == [third]
    assert stage.client.get(PROPOSALS, params={"proposal_state": "no"}).status_code == 422
    assert stage.client.get(f"{PROPOSALS}/{TENANT}").json()["code"] == "proposal-not-found"


def test_a_proposal_that_anyone_could_have_written_is_an_integrity_error(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    proposal_id = stage.proposed()
    monkeypatch.setattr(stage.log, "proves", lambda event: not isinstance(event, ProposalMade | ProposalApproved))
    for how in ("approve", "reject"):
        assert stage.decide(proposal_id, how).json()["code"] == "credential-integrity"
    assert "CredentialDeleted" not in stage.kinds()


def test_a_stored_key_in_the_id_of_a_request_is_not_confirmed_by_its_proposal(stage: Stage) -> None:
    answer = stage.delete(**{"X-Request-ID": "sk-0123456789"})
    assert answer.status_code == 202
    assert answer.headers["X-Request-ID"] != "sk-0123456789"
    assert not any("sk-0123456789" in event.request_id for event in stage.log.events)
