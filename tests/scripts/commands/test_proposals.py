"""The `proposals` commands, and the commands that become proposals, against a real service."""

import json
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from api.front.auth import format_named_key
from domain.access.roles import Role
from domain.access.token import is_token
from domain.credentials.secret import Secret
from keyledger.proofs.signing_keys import LogSigner, generate_signing_key
from scripts.terminal.exits import Exit
from tests.support.postgres import TemplatedServer
from tests.support.rings import NEW, OLD
from tests.support.service import ADMIN_KEY, DIRECT_MODELS, environment, served
from tests.support.store import LEDGER_ID, OTHER_ENCRYPTION_KEY

SECOND = "second-person-0123456789"
KEY = generate_signing_key("log.test")
VKEY = LogSigner(KEY).of_ledger(LEDGER_ID).vkey
EVERYTHING = "delete,retire,policy,access-keys,thaw"


@pytest.fixture(scope="module")
def stage(postgres_server: TemplatedServer) -> Iterator[tuple[str, str]]:
    """A service that needs a second person for everything, with the address of its database."""
    settings = environment(
        AI_MODELS_FILE=DIRECT_MODELS,
        APPROVALS=EVERYTHING,
        API_KEYS=format_named_key("second", Role.SYSADMIN, Secret(SECOND)),
        AUDIT_SIGNING_KEY=KEY.reveal(),
        ENCRYPTION_KEY_PREVIOUS=OTHER_ENCRYPTION_KEY.reveal(),
    )
    with postgres_server.fresh_database() as database_url, served(database_url, settings) as url:
        yield url, database_url


@pytest.fixture
def keyledger(cli, stage):
    url, _ = stage

    def run(*arguments: str, key: str = ADMIN_KEY, stdin: str = ""):
        return cli(*arguments, stdin=stdin, env={"KEYLEDGER_URL": url, "KEYLEDGER_API_KEY": key})

    return run


@pytest.fixture
def here(stage: tuple[str, str]) -> dict[str, str]:
    """The environment of an operator with the keys of the service, who forgot its APPROVALS."""
    url, database_url = stage
    own = {"KEYLEDGER_URL": url, "KEYLEDGER_API_KEY": ADMIN_KEY}
    return {**environment(DATABASE_URL=database_url), **own}


@pytest.fixture
def tenant(keyledger) -> str:
    found = str(uuid4())
    assert keyledger("credentials", "set", found, "openai", "--stdin", stdin=f"sk-of-{found}").code == Exit.OK
    return found


def proposed(ended) -> str:
    assert ended.code == Exit.PROPOSED, ended.err
    found: str = json.loads(ended.out)["proposal_id"]
    return found


COMMANDS: dict[str, tuple[str, ...]] = {
    "deleting a credential": ("credentials", "delete", "{tenant}", "openai", "--yes"),
    "changing a policy": ("tenants", "policy", "{tenant}", "--fallback", "deny"),
    "thawing a tenant": ("tenants", "thaw", "{tenant}"),
    "creating a key": ("access", "create", "key-{tenant}", "--role", "sysadmin"),
    "rotating a key": ("access", "rotate", "rotated-{tenant}"),
    "retiring an encryption key": ("keys", "retire", NEW.primary_id, "--yes"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_no_command_that_became_a_proposal_ends_like_one_that_was_carried_out(
    cli, here, keyledger, tenant: str, name: str
) -> None:
    command = [part.format(tenant=tenant) for part in COMMANDS[name]]
    assert keyledger("tenants", "freeze", tenant).code == Exit.OK
    if name == "rotating a key":
        made = proposed(keyledger("access", "create", f"rotated-{tenant}", "--role", "sysadmin", "--json"))
        assert keyledger("proposals", "approve", made, "--yes", key=SECOND).code == Exit.OK
    said = cli(*command, env=here)
    assert said.code == Exit.PROPOSED, said.err
    assert said.err.startswith("proposed, not carried out: this needs a second person, and nothing was changed"), name
    assert "keyledger proposals approve " in said.err
    shown = cli(*command, "--json", env=here)
    assert (shown.code, shown.err) == (Exit.PROPOSED, "")
    assert json.loads(shown.out)["state"] == "open"


def test_a_deletion_is_proposed_shown_approved_and_carried_out(keyledger, tenant: str) -> None:
    said = keyledger("credentials", "delete", tenant, "openai", "--yes", "--reason", "t 1")
    assert (said.code, "needs a second person" in said.err) == (Exit.PROPOSED, True)
    listed = keyledger("proposals", "list", "--state", "open", "--tenant", tenant, "--json")
    (one,) = json.loads(listed.out)["proposals"]
    assert (one["command"], one["proposed_by"], one["reason"]) == ("delete", "super", "t 1")
    assert tenant in keyledger("proposals", "list", "--command", "delete", "--tenant", tenant).out
    assert "CredentialDeleted" in keyledger("proposals", "show", one["proposal_id"]).out
    own = keyledger("proposals", "approve", one["proposal_id"], "--yes")
    assert (own.code, "own-proposal" in own.err) == (Exit.REFUSED, True)
    unasked = keyledger("proposals", "approve", one["proposal_id"], key=SECOND)
    assert unasked.code == Exit.USAGE, "there is no terminal to confirm at"
    done = keyledger("proposals", "approve", one["proposal_id"], "--yes", "--reason", "seen", key=SECOND)
    assert (done.code, "carried out" in done.err) == (Exit.OK, True)
    assert "no credentials" in keyledger("credentials", "list", tenant).err
    again = keyledger("proposals", "approve", one["proposal_id"], "--yes", key=SECOND)
    assert (again.code, "proposal-decided" in again.err) == (Exit.CONFLICT, True)


def test_a_proposal_is_rejected_by_its_proposer_too(keyledger, tenant: str) -> None:
    wanted = proposed(keyledger("credentials", "delete", tenant, "openai", "--yes", "--json"))
    assert "rejected" in keyledger("proposals", "reject", wanted).err
    assert json.loads(keyledger("proposals", "show", wanted, "--json").out)["state"] == "rejected"
    assert "openai" in keyledger("credentials", "list", tenant).out
    assert keyledger("proposals", "list", "--state", "open", "--tenant", tenant).err.startswith("there are no such")


def test_tenants_are_thawed_and_get_policies_by_two_people(keyledger, tenant: str) -> None:
    assert keyledger("tenants", "freeze", tenant).code == Exit.OK
    thaw = proposed(keyledger("tenants", "thaw", tenant, "--json"))
    assert "frozen" in keyledger("tenants", "show", tenant).out
    assert keyledger("proposals", "approve", thaw, "--yes", key=SECOND).code == Exit.OK
    said = keyledger("tenants", "policy", tenant, "--fallback", "deny")
    assert "needs a second person" in said.err
    (policy,) = json.loads(keyledger("proposals", "list", "--state", "open", "--tenant", tenant, "--json").out)[
        "proposals"
    ]
    assert keyledger("proposals", "approve", policy["proposal_id"], "--yes", key=SECOND).code == Exit.OK
    assert json.loads(keyledger("tenants", "policy", tenant, "--json").out)["fallback"] == "deny"


def test_the_token_of_a_proposed_key_is_printed_once(keyledger) -> None:
    made = keyledger("access", "create", "chief", "--role", "sysadmin")
    assert is_token(made.out.strip().encode())
    assert "works after the approval" in made.err
    found = json.loads(keyledger("proposals", "list", "--command", "access-keys", "--json").out)["proposals"]
    (one,) = [one for one in found if one["members"]["access_key"] == "chief"]
    assert made.out.strip() not in keyledger("proposals", "show", one["proposal_id"], "--json").out
    assert "chief" in keyledger("proposals", "list", "--command", "access-keys").out
    assert keyledger("proposals", "approve", one["proposal_id"], "--yes", key=SECOND).code == Exit.OK
    assert keyledger("access", "show", "chief", key=made.out.strip()).code == Exit.OK
    turned = keyledger("access", "rotate", "chief", "--json")
    assert json.loads(turned.out)["wants"] == "AccessKeyRotated"


def test_a_retirement_that_the_service_refuses_is_no_proposal(cli, here) -> None:
    sent = cli("keys", "retire", OLD.primary_id, "--yes", env=here)
    assert (sent.code, "key-not-retirable" in sent.err) == (Exit.CONFLICT, True), sent.err
    assert "it is the primary key" in sent.err


def test_a_tenant_is_erased_once_a_second_person_approved_its_deletions(cli, here, keyledger, tenant: str) -> None:
    assert keyledger("tenants", "freeze", tenant).code == Exit.OK
    erase = ("privacy", "erase", "--tenant", tenant, "--reason", "left", "--yes")
    refused = cli(*erase, env=here)
    assert refused.code == Exit.REFUSED, refused.err
    (command,) = [line.removeprefix("keyledger:") for line in refused.err.splitlines() if "credentials delete" in line]
    wanted = proposed(keyledger(*command.split()[1:], "--json"))
    assert keyledger("proposals", "approve", wanted, "--yes", key=SECOND).code == Exit.OK
    assert cli(*erase, env=here).code == Exit.OK


def test_a_leak_is_answered_by_two_people_or_in_an_emergency_by_one_and_the_audit_says_so(
    cli, here, keyledger, tenant: str
) -> None:
    other = str(uuid4())
    assert keyledger("credentials", "set", other, "mistral", "--stdin", stdin=f"sk-of-{tenant}").code == Exit.OK
    (event,) = json.loads(keyledger("history", tenant, "--json").out)["entries"]
    revoke = ("credentials", "revoke", "--fingerprint", event["fingerprint"])
    planned = cli(*revoke, "--yes", "--reason", "leaked", "--json", env=here)
    assert planned.code == Exit.REFUSED, planned.err
    plan = json.loads(planned.out)
    assert ({hit["tenant_id"] for hit in plan["hit"]}, plan["deleted"]) == ({tenant, other}, None)
    assert all(f"keyledger {way}" in planned.err for way in ("tenants freeze", "credentials delete"))
    assert "--emergency" in planned.err
    assert keyledger("tenants", "freeze", tenant).code == Exit.OK
    wanted = proposed(keyledger("credentials", "delete", tenant, "openai", "--if-match", "1", "--yes", "--json"))
    assert keyledger("proposals", "approve", wanted, "--yes", key=SECOND).code == Exit.OK
    done = cli(*revoke, "--yes", "--emergency", "--reason", "no one answers", "--json", env=here)
    assert (done.code, json.loads(done.out)["deleted"]) == (Exit.OK, 1), done.err
    reasons = [one["reason"] for one in json.loads(keyledger("history", other, "--json").out)["entries"]]
    assert reasons[-1] == "emergency, without a second person: no one answers"


def test_a_bundle_proves_the_proposal_its_approval_and_its_effect(keyledger, tenant: str) -> None:
    wanted = proposed(keyledger("credentials", "delete", tenant, "openai", "--yes", "--json"))
    assert keyledger("proposals", "approve", wanted, "--yes", key=SECOND).code == Exit.OK
    assert keyledger("audit", "bundle", "--tenant", tenant, "-o", "mine").code == Exit.OK
    assert keyledger("audit", "bundle", "-o", "whole").code == Exit.OK
    for folder in ("mine", "whole"):
        verified = keyledger("audit", "verify", folder, "--public-key", VKEY)
        assert (verified.code, "The evidence holds." in verified.out) == (Exit.OK, True), verified.out
    records = [json.loads(line) for line in Path("mine/records.jsonl").read_text().splitlines()]
    leaves = [json.loads(record["leaf"]) for record in records]
    assert [leaf["type"] for leaf in leaves] == [
        "CredentialSet",
        "ProposalMade",
        "ProposalApproved",
        "CredentialDeleted",
    ]
    assert [leaf["causation_id"] for leaf in leaves[2:]] == [wanted, wanted]
