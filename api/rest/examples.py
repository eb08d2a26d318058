"""Examples for /openapi.json: one tenant's credential and what happened to it."""

TENANT = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
REQUEST_ID = "0b1d6f0e-2f0c-4f57-9d1e-3a8d9a1f6c55"
_COMMAND = "7d1f0a52-4c77-4b0e-8f8f-1f1f3f6f2b10"

CREDENTIAL = {
    "provider": "openai",
    "masked_key": "...xyz9",
    "encryption_status": "encrypted",
    "state": "in-order",
    "configured_at": "2026-01-31T12:00:00Z",
    "config": {"endpoint": "https://llm.example.com/v1"},
    "version": 3,
    "key_id": "k0123456789",
    "last_used_at": "2026-01-31T12:59:31Z",
}
CREDENTIALS = {"credentials": [CREDENTIAL]}
SET = {
    "tenant_id": TENANT,
    "provider": "openai",
    "masked_key": "...xyz9",
    "message": "API credential for openai set successfully",
    "set_at": "2026-01-31T12:00:00Z",
    "version": 3,
    "warnings": [],
}
FOUND = {"credentials": [{"tenant_id": TENANT, **CREDENTIAL}], "next": f"{TENANT}.openai"}
TENANTS = {
    "tenants": [
        {
            "tenant_id": TENANT,
            "credentials": 3,
            "states": {"in-order": 2, "untested": 1, "credential-rejected": 0, "unreadable": 0},
            "last_change": "2026-01-31T12:00:00Z",
            "last_used_at": "2026-01-31T12:59:31Z",
        }
    ],
    "next": TENANT,
}
DELETED = {"tenant_id": TENANT, "provider": "openai", "message": "API credential for openai deleted successfully"}
ENTRY = {
    "position": 41,
    "timestamp": "2026-01-31T12:00:00Z",
    "action": "set",
    "outcome": "success",
    "tenant_id": TENANT,
    "provider": "openai",
    "version": 1,
    "actor": "alice",
    "role": "sysadmin",
    "source": "api",
    "client_address": "192.0.2.7",
    "reason": "ticket 4711",
    "request_id": REQUEST_ID,
    "command_id": _COMMAND,
    "causation_id": None,
    "node_time": "2026-01-31T12:00:00Z",
    "masked_key": "...xyz9",
    "key_id": "k0123456789",
    "fingerprint": "f0123456789abcdef",
    "details": {},
    "erased": [],
}
_DELETION = {
    **ENTRY,
    "position": 42,
    "action": "deleted",
    "version": 2,
    "masked_key": None,
    "key_id": None,
    "fingerprint": None,
}
ENTRIES = {"entries": [ENTRY, _DELETION], "next": 42}
EXPORTED = {
    "csv": "position,timestamp,action,outcome\r\n41,2026-01-31T12:00:00Z,set,success\r\n",
    "jsonl": '{"position":41,"timestamp":"2026-01-31T12:00:00Z","action":"set","outcome":"success"}\n',
}
"""The first members of an exported entry, by format."""
USAGE = {
    "usage": [
        {
            "hour": "2026-01-31T12:00:00Z",
            "tenant_id": TENANT,
            "provider": "openai",
            "version": 3,
            "calls": 120,
            "failures": 2,
            "last_used_at": "2026-01-31T12:59:31Z",
        }
    ],
    "next": f"491628.{TENANT}.openai.3",
}
TOKENS = {
    "usage": [
        {
            "hour": "2026-01-31T12:00:00Z",
            "tenant_id": TENANT,
            "provider": "openai",
            "version": 3,
            "access_key": "billing-app",
            "model": "gpt-4o",
            "calls": 120,
            "failures": 2,
            "calls_without_tokens": 1,
            "calls_without_cost": 1,
            "input_tokens": 480000,
            "output_tokens": 36000,
            "cached_tokens": 120000,
            "cache_creation_tokens": 0,
            "reasoning_tokens": 0,
            "cost": "1.41000000",
            "currency": "USD",
            "last_used_at": "2026-01-31T12:59:31Z",
        }
    ],
    "prices": "LiteLLM 1.99.4",
    "next": f"491628.{TENANT}.openai.3.{b'billing-app'.hex()}.{b'gpt-4o'.hex()}.USD",
}
RESOLUTION = {
    "model": "gpt-4o",
    "adapter": "litellm",
    "provider": "openai",
    "source": "tenant",
    "endpoint": "https://api.openai.com/v1",
    "version": 3,
    "key_id": "k0123456789",
    "refusal": None,
}
CHECK = {"tenant_id": TENANT, "provider": "openai", "version": 3, "accepted": True}
