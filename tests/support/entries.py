"""Audit entries as data: one for each action, and any that the log could hold."""

from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import strategies as st

from domain.audit.entries import OF_A_CREDENTIAL, Action, AuditEntry
from domain.audit.request_events import Outcome

TENANT = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
SET = AuditEntry(
    position=41,
    timestamp=datetime(2026, 1, 31, 12, 0, 0, 123456, tzinfo=UTC),
    action=Action("set"),
    outcome=Outcome.SUCCESS,
    tenant_id=TENANT,
    provider="openai",
    version=1,
    actor="alice",
    role="sysadmin",
    source="api",
    client_address="192.0.2.7",
    reason="ticket 4711",
    request_id="req-1",
    command_id="cmd-1",
    causation_id=None,
    node_time=datetime(2026, 1, 31, 12, 0, 0, 123456, tzinfo=UTC),
    masked_key="...xyz9",
    key_id="k0123456789",
    fingerprint="f0123456789abcdef",
    details={},
)
_BARE = replace(SET, tenant_id=None, provider=None, masked_key=None, key_id=None, fingerprint=None, reason=None)
_KEYLESS = replace(SET, masked_key=None, key_id=None, fingerprint=None, reason=None)
REFUSED = replace(
    _BARE,
    action=Action("request-refused"),
    outcome=Outcome.FAILED,
    tenant_id=TENANT,
    provider="openai",
    details={
        "method": "PUT",
        "route": "/api/v1/x/{tenant_id}",
        "status": 422,
        "code": "invalid-credential",
        "count": 3,
    },
)
UNAUTHENTICATED = replace(
    REFUSED,
    outcome=Outcome.DENIED,
    tenant_id=None,
    provider=None,
    actor="anonymous",
    role="anonymous",
    details={"method": "GET", "route": "unrouted", "status": 401, "code": "unauthenticated", "count": 1},
)
SEVERAL = replace(
    REFUSED,
    client_address=None,
    actor="anonymous",
    role="anonymous",
    details={"method": "several", "route": "several", "status": 403, "code": "several", "count": 900},
)
ERASED = replace(
    SET,
    actor=None,
    client_address=None,
    reason=None,
    fingerprint=None,
    erased=("actor", "client_address", "reason", "fingerprint"),
)
ENTRIES = [
    SET,
    replace(SET, action=Action("replaced"), version=2),
    replace(_KEYLESS, action=Action("deleted"), version=3),
    replace(SET, action=Action("reencrypted"), source="rotation", client_address=None, causation_id="cmd-0"),
    replace(
        _KEYLESS,
        action=Action("credential-rejected"),
        outcome=Outcome.FAILED,
        client_address="2001:db8::7",
        details={"credential_version": 2},
    ),
    replace(_KEYLESS, action=Action("credential-recovered"), details={"credential_version": 2}),
    replace(_BARE, action=Action("key-introduced"), key_id="k0123456789", source="service", client_address=None),
    replace(
        _BARE, action=Action("rotation-started"), key_id="k0123456789", details={"rotation_id": "r", "credentials": 2}
    ),
    replace(
        _BARE,
        action=Action("rotation-completed"),
        key_id="k0123456789",
        details={"rotation_id": "r", "reencrypted": 2, "skipped": 0, "failed": 0, "seconds": 0.5},
    ),
    replace(_BARE, action=Action("key-retired"), key_id="k0123456789", details={"unrecoverable": 0}),
    replace(
        _BARE,
        action=Action("projection-replayed"),
        details={"projection": "audit_trail", "result": "swapped", "replayed_to": 9, "rows": 9, "differences": 0},
    ),
    replace(_BARE, action=Action("restore-accepted"), details={"from_position": 9, "to_position": 7}),
    replace(_BARE, action=Action("log-attested"), details={"attested_to": 9, "root": "ab" * 32, "lost_keys": "k1"}),
    replace(_BARE, action=Action("approvals-changed"), details={"commands": "delete retire"}),
    replace(_BARE, action=Action("policy-changed"), details={"tenant_credentials": "on", "global_fallback": "deny"}),
    REFUSED,
    UNAUTHENTICATED,
    SEVERAL,
    replace(
        UNAUTHENTICATED,
        client_address="2001:db8::/64",
        details={"method": "PUT", "route": "/api/v1/x", "status": 429, "code": "locked-out", "count": 7},
    ),
    replace(
        _BARE,
        action=Action("address-locked-out"),
        outcome=Outcome.DENIED,
        actor="anonymous",
        role="anonymous",
        details={"seconds": 60.0, "count": 2},
    ),
    replace(_BARE, action=Action("audit-read"), details={"view": "entries", "query": "actor:bob", "count": 2}),
    replace(_BARE, action=Action("audit-exported"), details={"format": "csv"}, source="cli"),
    replace(_BARE, action=Action("log-attested"), details={"attested_to": 9, "root": "sha256:00"}),
    replace(_BARE, action=Action("secret-sealed"), key_id="k0123456789", details={"secret_id": "s0123456789"}),
    replace(_BARE, action=Action("person-erased"), details={"kind": "actor", "person": "AAAA", "keys": 2}),
    replace(_BARE, action=Action("personal-data-expired"), details={"before": "2026-01-01", "keys": 2}),
    *[
        replace(
            _BARE,
            action=Action(f"access-key-{what}"),
            details={"access_key": "app", "for_role": "runtime", "requests_per_minute": 60, "concurrent_calls": 0},
        )
        for what in ("created", "changed", "rotated", "revoked")
    ],
    *[
        replace(
            _KEYLESS,
            action=Action(action),
            provider=None,
            details={"registered": "yes", "own_endpoints": "yes", "fallback": "no", "key_check": "no", **more},
        )
        for action, more in (
            ("tenant-registered", {"tenant_name": "Acme", "labels": '{"plan": "gold"}'}),
            ("tenant-policy-changed", {"providers": "mistral openai"}),
            ("tenant-frozen", {"frozen_at": "2026-01-31T12:00:00.123456+00:00"}),
            ("tenant-thawed", {}),
        )
    ],
    *[
        replace(
            _KEYLESS,
            action=Action(f"proposal-{how}"),
            details={
                "proposal_id": "2f0f6f4a-3f0e-5b5a-9d0c-6a6f0a2f7c11",
                "command": "delete",
                "wants": "CredentialDeleted",
                "wants_version": 4,
                "about": "5f0f6f4a-3f0e-5b5a-9d0c-6a6f0a2f7c11",
                "members": "{}",
                "made_at": "2026-01-31T12:00:00.123456+00:00",
                "expires_at": "2026-02-01T12:00:00.123456+00:00",
                **more,
            },
        )
        for how, more in (("made", {}), ("approved", {}), ("rejected", {}), ("lapsed", {"because": "changed"}))
    ],
    replace(
        _BARE,
        action=Action("signed-in"),
        details={"session": "0c7f1a52-5a1e-4a51-9a8c-6d1f6f5b7c11", "name": "Ada", "for_role": "auditor"},
    ),
    replace(_BARE, action=Action("signed-out"), details={"session": "0c7f1a52-5a1e-4a51-9a8c-6d1f6f5b7c11"}),
    ERASED,
]
"""What the log can tell, one of each action, and refusals of every kind."""

_TEXTS = st.text(st.characters(codec="utf-8"), max_size=12) | st.sampled_from(
    ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", "'=1", "'", "＝1", "a\r\nb", 'a"b,c', "", "\0"]
)
_ADDRESSES = st.ip_addresses().map(str) | st.sampled_from(["testclient", "fe80::1%eth0", "::ffff:192.0.2.7"])
_TIMES = st.datetimes(timezones=st.just(UTC))


@st.composite
def any_entries(draw: st.DrawFn) -> AuditEntry:
    """An entry of some action with any texts in it, of any time."""
    entry = draw(st.sampled_from(ENTRIES))
    texts = {name: draw(_TEXTS) for name in ("actor", "role", "source", "request_id", "command_id")}
    if entry.action not in OF_A_CREDENTIAL:
        texts["key_id"] = draw(_TEXTS)
    return replace(
        entry,
        **texts,  # type: ignore[arg-type]  # members that are text
        position=draw(st.integers(1, 2**63 - 1)),
        erased=tuple(draw(st.lists(st.sampled_from(["actor", "reason", "query"]), unique=True))),
        version=draw(st.integers(1, 2**63 - 1)),
        timestamp=draw(_TIMES),
        outcome=draw(st.sampled_from(Outcome)),
        client_address=draw(st.none() | _ADDRESSES),
        reason=draw(st.none() | _TEXTS),
        details={**entry.details, "query": draw(_TEXTS)},
    )
