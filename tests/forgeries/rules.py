"""Forgeries of what decides besides credentials: the rules for tenants, sessions of people, and proposals."""

import json
from typing import Any
from uuid import UUID

from domain.access.session import stream_of_session
from domain.approvals.proposal import proposal_stream
from domain.tenants.tenant import tenant_stream
from tests.forgeries.kinds import BOTH, Where, kind
from tests.support.forger import Forger, members_of, time_text


def _tenant(f: Forger) -> str:
    return str(f.one("SELECT tenant_id FROM tenants")["tenant_id"])


def _of_tenant(f: Forger, topic: str, tenant: str, **members: object) -> int:
    """Insert an event of a tenant; return its position."""
    stream = tenant_stream(tenant)
    known = f.last_of(stream)
    said = {**members_of(known), **members, "command_id": f.name(), "timestamp": time_text(0), "tenant_id": tenant}
    return f.add(topic, said, stream, known["originator_version"] + 1)


@kind("a freeze of a tenant", BOTH)
def _(f: Forger) -> Where:
    tenant = _tenant(f)
    return Where(_of_tenant(f, "TenantFrozen", tenant, frozen_at=time_text(0)), words=(tenant, "tenants"))


@kind("a policy of a tenant, with its row", BOTH)
def _(f: Forger) -> Where:
    tenant = _tenant(f)
    position = _of_tenant(f, "TenantPolicyChanged", tenant, providers="mistral", fallback="yes")
    f.sql("UPDATE tenants SET version = version + 1 WHERE tenant_id = %s", tenant)
    return Where(position, words=(tenant, "tenants"))


@kind("the row of a tenant", BOTH)
def _(f: Forger) -> Where:
    tenant = _tenant(f)
    change = f.chance.choice(["frozen = NOT frozen", "registered = NOT registered", "version = version + 1"])
    f.sql(f"UPDATE tenants SET {change} WHERE tenant_id = %s", tenant)
    return Where(words=(tenant, "tenants"))


@kind("the row of a tenant, taken out")
def _(f: Forger) -> Where:
    tenant = _tenant(f)
    f.sql("DELETE FROM tenants WHERE tenant_id = %s", tenant)
    return Where(words=(tenant, "tenants"))


@kind("a row of no tenant", BOTH)
def _(f: Forger) -> Where:
    tenant = f.name()
    f.insert("tenants", {"tenant_id": tenant, "version": 1, "frozen": True, "registered": False})
    return Where(words=(tenant, "tenants"))


@kind("a session of an administrator", BOTH)
def _(f: Forger) -> Where:
    session = f.name()
    read = f.example("AuditRead")
    members = {name: value for name, value in read.items() if name not in {"view", "count", "query"}}
    members |= {"session": session, "name": "Mallory", "for_role": "sysadmin", "rule": "0" * 16, "tenants": None}
    members |= {"expires_at": time_text(8)}
    return Where(f.add("PersonSignedIn", members, stream_of_session(session), 1))


def _proposal(f: Forger, **members: object) -> tuple[str, dict[str, Any]]:
    made = {**f.example("ProposalMade"), **members}
    return str(made["proposal_id"]), made


@kind("a proposal in an administrator's name", BOTH)
def _(f: Forger) -> Where:
    proposal_id, members = _proposal(f, proposal_id=f.name())
    return Where(f.add("ProposalMade", members, proposal_stream(proposal_id), 1))


@kind("an approval of a proposal, with its effect", BOTH)
def _(f: Forger) -> Where:
    made = f.event(
        "topic = 'ProposalMade' AND NOT EXISTS (SELECT FROM keyledger_events AS later"
        " WHERE later.originator_id = keyledger_events.originator_id AND later.originator_version > 1)"
    )
    said = members_of(made)
    position = f.add("ProposalApproved", {**said, "command_id": f.name()}, made["originator_id"], 2)
    tenant = str(said["tenant_id"])
    effect = {**f.example("TenantPolicyChanged"), **json.loads(said["members"]), "tenant_id": tenant}
    version = f.last_of(said["about"])["originator_version"] + 1 if f.has(said["about"]) else 1
    f.add("TenantPolicyChanged", {**effect, "causation_id": said["proposal_id"]}, said["about"], version)
    f.sql("UPDATE tenants SET version = version + 1 WHERE tenant_id = %s", tenant)
    return Where(position, words=(tenant, "tenants"))


@kind("what a proposal asks for")
def _(f: Forger) -> Where:
    row = f.event("topic = 'ProposalMade'")
    other = UUID(int=f.chance.getrandbits(128), version=4)
    return Where(f.change(row, tenant_id=str(other), about=str(tenant_stream(str(other)))))
