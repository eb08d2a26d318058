"""Proposals on the whole service: two nodes, several people, lost answers, rotations, forged rows, exports."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from threading import Barrier
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest

from api.front.auth import format_named_key
from domain.access.roles import Role
from domain.credentials.secret import Secret
from tests.support.checker import check
from tests.support.faulty_link import Fault, faulty_link
from tests.support.forger import connected, unguarded
from tests.support.issuer import TokenIssuer, token_issuer
from tests.support.postgres import TemplatedServer
from tests.support.rings import NEW, OLD
from tests.support.service import Client, client_of, environment, served
from tests.support.store import ENCRYPTION_KEY, OTHER_ENCRYPTION_KEY, open_store

PROPOSALS = "/api/v1/sysadmin/proposals"
ACCESS_KEYS = "/api/v1/sysadmin/access-keys"
KEYS = "/api/v1/sysadmin/encryption-keys"
EVERYTHING = "delete,retire,policy,access-keys,thaw"
OTHERS = {name: {"X-API-Key": f"{name}-key-0123456789"} for name in ("bob", "carol")}
BOB, CAROL = OTHERS["bob"], OTHERS["carol"]
NAMED = ",".join(format_named_key(name, Role.SYSADMIN, Secret(f"{name}-key-0123456789")) for name in OTHERS)
FILE = """
issuers:
  - name: tests
    url: {url}
    audience: keyledger
    rules:
      - claims: {{sub: "*"}}
        role: sysadmin
"""


@dataclass(frozen=True)
class Stage:
    """Two nodes on one database, which need a second person for everything that they can."""

    nodes: tuple[Client, Client]
    issuer: TokenIssuer
    database_url: str

    def tenant(self) -> str:
        tenant = str(uuid4())
        assert self.nodes[0].put(tenant, "openai", api_key=f"sk-of-{tenant}").status_code == 200
        return tenant

    def proposed(self, tenant: str, **headers: str) -> str:
        answer = self.nodes[0].http.delete(path(tenant, "/credentials/openai"), headers=headers)
        assert answer.status_code == 202, answer.text
        found: str = answer.json()["proposal_id"]
        return found

    def decide(self, proposal_id: str, by: dict[str, str] = BOB, node: int = 1, how: str = "approve") -> httpx.Response:
        return self.nodes[node].http.post(f"{PROPOSALS}/{proposal_id}/{how}", headers=by)

    def is_there(self, tenant: str) -> bool:
        return self.nodes[1].http.get(path(tenant, "/credentials/openai")).status_code == 200

    def person(self, name: str) -> dict[str, str]:
        """The header of another token of a person."""
        return {"X-API-Key": self.issuer.token(sub=name, jti=str(uuid4()))}

    def entries(self, **query: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.nodes[0].http.get("/api/v1/audit/entries", params=query).json()["entries"]
        return found


def path(tenant: str, what: str = "") -> str:
    return f"/api/v1/sysadmin/tenants/{tenant}{what}"


@pytest.fixture(scope="module")
def stage(postgres_server: TemplatedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with ExitStack() as stack:
        issuer = stack.enter_context(token_issuer())
        database_url = stack.enter_context(postgres_server.fresh_database())
        file = tmp_path_factory.mktemp("identity") / "identity.yml"
        file.write_text(FILE.format(url=issuer.url), encoding="utf-8")
        settings = environment(APPROVALS=EVERYTHING, API_KEYS=NAMED, IDENTITY_FILE=str(file))
        with ExitStack() as running:
            urls = [running.enter_context(served(database_url, settings)) for _ in range(2)]
            nodes = [running.enter_context(client_of(url)) for url in urls]
            yield Stage((nodes[0], nodes[1]), issuer, database_url)
        with open_store(database_url) as store:
            check(store)


def test_a_deletion_waits_for_the_other_node_and_is_obeyed_by_both(stage: Stage) -> None:
    tenant = stage.tenant()
    proposal_id = stage.proposed(tenant, **{"X-Audit-Reason": "the tenant left"})
    assert stage.is_there(tenant)
    approved = stage.decide(proposal_id)
    assert (approved.status_code, approved.json()["state"]) == (200, "approved"), approved.text
    assert not stage.is_there(tenant)
    (made, decided, done) = stage.entries(tenant_id=tenant)[1:]
    assert [one["action"] for one in (made, decided, done)] == ["proposal-made", "proposal-approved", "deleted"]
    assert [one["actor"] for one in (made, decided, done)] == ["super", "bob", "super"]
    assert made["details"]["proposal_id"] == decided["causation_id"] == done["causation_id"] == proposal_id
    assert done["reason"] == made["reason"] == "the tenant left"
    assert decided["position"] + 1 == done["position"], "they are one append"


def test_a_node_without_the_setting_carries_out_nothing_that_another_makes_a_proposal_of(stage: Stage) -> None:
    tenant = stage.tenant()
    with served(stage.database_url, environment()) as url, client_of(url) as without:
        answer = without.delete(tenant, "openai")
        assert (answer.status_code, answer.json()["command"]) == (202, "delete"), answer.text
    assert stage.is_there(tenant)


def test_policy_thaw_and_keys_of_sysadmins_wait_too(stage: Stage) -> None:
    http, tenant = stage.nodes[0].http, stage.tenant()
    assert http.post(path(tenant, "/freeze")).status_code == 200
    thaw = http.post(path(tenant, "/thaw"))
    policy = http.put(path(tenant, "/policy"), json={"fallback": "deny", "providers": ["openai", "mistral"]})
    assert (thaw.status_code, policy.status_code) == (202, 202)
    assert stage.decide(thaw.json()["proposal_id"]).status_code == 200
    late = stage.decide(policy.json()["proposal_id"])
    assert (late.status_code, late.json()["code"]) == (409, "proposal-lapsed"), "the thaw was a change of the tenant"
    policy = http.put(path(tenant, "/policy"), json={"fallback": "deny", "providers": ["openai", "mistral"]})
    assert stage.decide(policy.json()["proposal_id"]).status_code == 200
    shown = http.get(path(tenant, "/policy")).json()
    assert (shown["fallback"], shown["providers"]) == ("deny", ["mistral", "openai"])
    body = {"name": f"key-{uuid4()}"[:40], "role": "sysadmin", "networks": ["127.0.0.0/8"], "expires_at": None}
    made = http.post(ACCESS_KEYS, json=body).json()
    assert http.get(ACCESS_KEYS, headers={"X-API-Key": made["token"]}).status_code == 401
    assert stage.decide(made["proposal_id"]).status_code == 200
    assert http.get(ACCESS_KEYS, headers={"X-API-Key": made["token"]}).status_code == 200
    assert stage.nodes[1].http.get(f"{ACCESS_KEYS}/{body['name']}").json()["networks"] == ["127.0.0.0/8"]


def test_two_tokens_of_one_person_are_one_person(stage: Stage) -> None:
    tenant = stage.tenant()
    proposal_id = stage.proposed(tenant, **stage.person("alice"))
    own = stage.decide(proposal_id, stage.person("alice"))
    assert (own.status_code, own.json()["code"]) == (403, "own-proposal")
    assert stage.is_there(tenant)
    approved = stage.decide(proposal_id, stage.person("dora"))
    assert (approved.status_code, approved.json()["decided_by"]) == (200, f"{stage.issuer.url}#dora")
    assert approved.json()["proposed_by"] == f"{stage.issuer.url}#alice"


def test_a_key_that_a_person_was_given_is_that_person(stage: Stage) -> None:
    body = {"name": f"key-{uuid4()}"[:40], "role": "sysadmin", "expires_at": None}
    made = stage.nodes[0].http.post(ACCESS_KEYS, json=body, headers=stage.person("erin")).json()
    assert stage.decide(made["proposal_id"]).status_code == 200
    tenant, key = stage.tenant(), {"X-API-Key": made["token"]}
    proposal_id = stage.proposed(tenant, **stage.person("erin"))
    assert stage.decide(proposal_id, key).json()["code"] == "own-proposal"
    turned = stage.nodes[0].http.post(f"{ACCESS_KEYS}/{body['name']}/rotate", json={}, headers=key).json()
    assert stage.decide(turned["proposal_id"]).status_code == 200
    again = stage.decide(proposal_id, {"X-API-Key": turned["token"]})
    assert again.json()["code"] == "own-proposal", "a caller that rotates a key with itself had its token"
    mine = stage.proposed(stage.tenant(), **{"X-API-Key": turned["token"]})
    assert stage.decide(mine, stage.person("erin")).json()["code"] == "own-proposal"
    assert stage.decide(mine, BOB).status_code == 200


def test_of_two_nodes_that_decide_at_once_one_does(stage: Stage) -> None:
    with ThreadPoolExecutor(2) as threads:
        for _ in range(8):
            tenant, together = stage.tenant(), Barrier(2)
            proposal_id = stage.proposed(tenant)

            def decide(node: int, by: dict[str, str], together: Barrier = together, wanted: str = proposal_id) -> int:
                together.wait()
                return stage.decide(wanted, by, node).status_code

            assert sorted(threads.map(decide, (0, 1), (BOB, CAROL))) == [200, 409]
            actions = [one["action"] for one in stage.entries(tenant_id=tenant)]
            assert actions == ["set", "proposal-made", "proposal-approved", "deleted"]


def test_an_erased_proposers_proposal_lapses(stage: Stage) -> None:
    tenant = stage.tenant()
    proposal_id = stage.proposed(tenant, **stage.person("frank"))
    shown = f"{PROPOSALS}/{proposal_id}"
    assert stage.nodes[1].http.get(shown).json()["proposed_by"] == f"{stage.issuer.url}#frank"
    assert stage.entries(tenant_id=tenant)[-1]["action"] == "proposal-made"
    with psycopg.connect(stage.database_url, autocommit=True) as database:
        erased = database.execute(
            "DELETE FROM personal_keys WHERE person = (SELECT person FROM audit_trail WHERE action = 'proposal-made'"
            " AND details ->> 'proposal_id' = %s)",
            [proposal_id],
        )
        assert erased.rowcount == 1
    late = stage.decide(proposal_id)
    assert (late.status_code, late.json()["code"]) == (409, "proposal-lapsed")
    after = stage.nodes[1].http.get(shown).json()
    assert (after["lapsed_because"], after["proposed_by"]) == ("proposer-erased", None)
    assert stage.is_there(tenant)


def test_the_list_has_filters_and_pages(stage: Stage) -> None:
    tenant = stage.tenant()
    wanted = [stage.proposed(tenant) for _ in range(3)]
    http = stage.nodes[1].http

    def listed(**query: str) -> list[str]:
        answer = http.get(PROPOSALS, params={"tenant_id": tenant, **query})
        assert answer.status_code == 200, answer.text
        return [one["proposal_id"] for one in answer.json()["proposals"]]

    assert listed() == wanted
    assert stage.decide(wanted[1], how="reject").status_code == 200
    assert listed(proposal_state="open") == [wanted[0], wanted[2]]
    first = http.get(PROPOSALS, params={"tenant_id": tenant, "limit": "2"}).json()
    assert listed(after=str(first["next"])) == wanted[2:]
    assert listed(command="thaw") == []


def test_proposals_are_in_every_export(stage: Stage) -> None:
    tenant = stage.tenant()
    proposal_id = stage.proposed(tenant)
    assert stage.decide(proposal_id).status_code == 200
    for form in ("jsonl", "csv", "cloudevents", "ocsf"):
        answer = stage.nodes[0].http.get("/api/v1/audit/export", params={"format": form, "tenant_id": tenant})
        assert answer.status_code == 200, answer.text
        lines = [line for line in answer.text.splitlines() if proposal_id in line]
        assert len(lines) == 3, form
        assert ("super" in lines[0], "bob" in lines[1], "super" in lines[2]) == (True, True, True)


def test_a_row_of_the_trail_that_was_changed_shows_and_decides_nothing_else(stage: Stage) -> None:
    tenant, victim = stage.tenant(), stage.tenant()
    proposal_id = stage.proposed(tenant)
    assert stage.entries(tenant_id=tenant)[-1]["action"] == "proposal-made"
    with psycopg.connect(stage.database_url, autocommit=True) as database:
        changed = database.execute(
            "UPDATE audit_trail SET details = details || jsonb_build_object('about', %s::text), tenant_id = %s"
            " WHERE details ->> 'proposal_id' = %s",
            [str(uuid4()), victim, proposal_id],
        )
        assert changed.rowcount == 1
    assert stage.nodes[0].http.get(f"{PROPOSALS}/{proposal_id}").json()["tenant_id"] == tenant
    assert stage.decide(proposal_id).status_code == 200
    assert (stage.is_there(tenant), stage.is_there(victim)) == (False, True)
    assert stage.entries(tenant_id=tenant)[-1]["action"] == "deleted"
    with psycopg.connect(stage.database_url, autocommit=True) as database:
        database.execute(
            "UPDATE audit_trail SET tenant_id = %s, details = details || jsonb_build_object('about',"
            " (SELECT details -> 'about' FROM audit_trail WHERE causation_id = %s AND action = 'proposal-approved'))"
            " WHERE details ->> 'proposal_id' = %s AND action = 'proposal-made'",
            [tenant, proposal_id, proposal_id],
        )


FORGED = {
    "without a code": "code = NULL, code_key_id = NULL",
    "with the code of another event": "code = (SELECT code FROM keyledger_events WHERE notification_id = 1)",
    "for another tenant, with the code it had": "state = replace(convert_from(state, 'UTF8'), %(of)s, %(to)s)::bytea",
    "under a key that no one knows": "code_key_id = 'kffffffffff'",
}


@pytest.mark.parametrize("how", FORGED)
def test_a_forged_proposal_is_an_integrity_error_and_carries_nothing_out(
    postgres_server: TemplatedServer, how: str
) -> None:
    settings = environment(APPROVALS=EVERYTHING, API_KEYS=NAMED)
    with (
        postgres_server.fresh_database() as url,
        served(url, settings) as address,
        client_of(address) as node,
        connected(url) as database,
    ):
        tenant, victim = str(uuid4()), str(uuid4())
        for one in (tenant, victim):
            assert node.put(one, "openai", api_key=f"sk-of-{one}").status_code == 200
        proposal_id = node.delete(tenant, "openai").json()["proposal_id"]
        with unguarded(database):
            database.execute(
                f"UPDATE keyledger_events SET {FORGED[how]} WHERE topic = 'ProposalMade'".encode(),
                {"of": tenant, "to": victim},
            )
        for what in ("approve", "reject"):
            answer = node.http.post(f"{PROPOSALS}/{proposal_id}/{what}", headers=BOB)
            assert (answer.status_code, answer.json()["code"]) == (500, "credential-integrity"), answer.text
        listed = node.http.get(PROPOSALS)
        assert (listed.status_code, listed.json()["code"]) == (500, "credential-integrity")
        for one in (tenant, victim):
            assert node.http.get(path(one, "/credentials/openai")).status_code == 200


def test_a_forged_approval_carries_nothing_out(postgres_server: TemplatedServer) -> None:
    settings = environment(APPROVALS=EVERYTHING, API_KEYS=NAMED)
    with (
        postgres_server.fresh_database() as url,
        served(url, settings) as address,
        client_of(address) as node,
        connected(url) as database,
    ):
        tenant = str(uuid4())
        assert node.put(tenant, "openai", api_key=f"sk-of-{tenant}").status_code == 200
        proposal_id = node.delete(tenant, "openai").json()["proposal_id"]
        with unguarded(database):
            database.execute(
                "INSERT INTO keyledger_events (notification_id, originator_id, originator_version, topic, state,"
                " code_key_id, code) SELECT (SELECT max(notification_id) + 1 FROM keyledger_events), originator_id, 2,"
                " 'ProposalApproved', state, code_key_id, code FROM keyledger_events WHERE topic = 'ProposalMade'"
            )
        assert node.http.get(path(tenant, "/credentials/openai")).status_code == 200
        shown = node.http.get(f"{PROPOSALS}/{proposal_id}")
        assert (shown.status_code, shown.json()["code"]) == (500, "credential-integrity")


@pytest.mark.parametrize("fault", [Fault.REQUEST_LOST, Fault.ANSWER_LOST])
@pytest.mark.parametrize("moment", ["proposing", "approving"])
def test_a_lost_answer_is_looked_up_and_nothing_happens_twice(database_url: str, moment: str, fault: Fault) -> None:
    settings = environment(APPROVALS=EVERYTHING, API_KEYS=NAMED)
    with faulty_link(database_url) as link, served(link.url, settings) as url, client_of(url) as node:
        tenant = str(uuid4())
        assert node.put(tenant, "openai", api_key=f"sk-of-{tenant}").status_code == 200
        # The append is known by what it stores: a prepared statement does not repeat its text.
        if moment == "proposing":
            link.break_next("ProposalMade", fault)
        proposal_id = node.delete(tenant, "openai").json()["proposal_id"]
        if moment == "approving":
            link.break_next("ProposalApproved", fault)
        assert node.http.post(f"{PROPOSALS}/{proposal_id}/approve", headers=BOB).status_code == 200
        assert link.faults_met == 1
    with open_store(database_url) as store:
        check(store)
        actions = [one.action.value for one in store.audit(tenant_id=tenant)]
        assert actions == ["set", "proposal-made", "proposal-approved", "deleted"]


def test_a_proposal_outlives_a_restart_and_the_rotation_and_retirement_of_its_encryption_key(
    database_url: str, tmp_path: Path
) -> None:
    more = {"APPROVALS": EVERYTHING, "API_KEYS": NAMED, "DATA_DIR": str(tmp_path)}
    keys = {"ENCRYPTION_KEY": OTHER_ENCRYPTION_KEY.reveal(), "ENCRYPTION_KEY_PREVIOUS": ENCRYPTION_KEY.reveal()}
    tenant = str(uuid4())
    with served(database_url, environment(**more)) as url, client_of(url) as node:
        assert node.put(tenant, "openai", api_key=f"sk-of-{tenant}").status_code == 200
        before = node.delete(tenant, "openai").json()["proposal_id"]
        policy = node.http.put(path(tenant, "/policy"), json={"fallback": "deny"}).json()["proposal_id"]
    with served(database_url, environment(**more, **keys)) as url, client_of(url) as node:
        begun = node.http.post(f"{KEYS}/rotations").json()
        assert "event: done" in node.http.get(f"{KEYS}/rotations/{begun['rotation_id']}/events").text
        held = node.http.post(f"{KEYS}/{OLD.primary_id}/retire")
        assert (held.status_code, held.json()["key_id"]) == (202, OLD.primary_id), held.text
        approve = f"{PROPOSALS}/{held.json()['proposal_id']}/approve"
        assert node.http.post(approve).json()["code"] == "own-proposal"
        approved = node.http.post(approve, headers=BOB)
        assert approved.status_code == 200, approved.text
        refused = node.http.post(f"{KEYS}/{NEW.primary_id}/retire")
        assert (refused.status_code, refused.json()["code"]) == (409, "key-not-retirable")
    alone = {"ENCRYPTION_KEY": OTHER_ENCRYPTION_KEY.reveal()}
    with served(database_url, environment(**more, **alone)) as url, client_of(url) as node:
        late = node.http.post(f"{PROPOSALS}/{before}/approve", headers=BOB)
        assert late.json()["code"] == "proposal-lapsed", "the rotation sealed the credential again"
        assert node.http.post(f"{PROPOSALS}/{policy}/approve", headers=BOB).status_code == 200
        assert node.http.get(path(tenant, "/policy")).json()["fallback"] == "deny"
    with open_store(database_url, NEW) as store:
        check(store)
