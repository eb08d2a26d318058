"""Role by route by scope: what each access key reaches, and what it is refused with."""

import itertools
from dataclasses import dataclass
from datetime import timedelta
from fnmatch import fnmatchcase
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.access.roles import Role
from tests.api.conftest import OTHER_TENANT, START, SUPER_KEY, TENANT, Harness
from tests.api.rest.test_access_keys import KEYS_PATH
from tests.support.asgi import client_on
from tests.support.effort import SHARE

OWN, ADMIN = "/api/v1/tenants/{t}", "/api/v1/sysadmin/tenants/{t}"
MODELS, NATIVE = "/api/v1/tenants/{t}/openai/v1", "/api/v1/tenants/{t}/providers"
CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hello"}]}
EMBED = {"model": "text-embedding-3-small", "input": "hello"}


@dataclass(frozen=True)
class Route:
    """One route. names: the dimensions that a request to it names, and with which value."""

    method: str
    path: str
    roles: frozenset[Role]
    tenant: bool = True
    provider: str | None = None
    model: str | None = None
    surface: str | None = None
    body: Any = None
    lists: bool = False


def _of(*roles: Role) -> frozenset[Role]:
    return frozenset({Role.SYSADMIN, *roles})


READERS, CALLERS, OWNERS = _of(Role.AUDITOR, Role.OPERATOR), _of(Role.RUNTIME), _of(Role.TENANT_ADMIN)
ROUTES = [
    Route("GET", f"{ADMIN}/credentials", READERS),
    Route("GET", f"{ADMIN}/credentials/openai", READERS, provider="openai"),
    Route("PUT", f"{ADMIN}/credentials/openai", _of(), provider="openai", body={"api_key": "sk-0123456789"}),
    Route("DELETE", f"{ADMIN}/credentials/mistral", _of(), provider="mistral"),
    Route("GET", f"{ADMIN}/credentials/openai/history", _of(Role.AUDITOR), provider="openai"),
    Route("GET", f"{ADMIN}/resolution?model=gpt-4o", READERS),
    Route("GET", "/api/v1/sysadmin/tenants", READERS, tenant=False),
    Route("GET", "/api/v1/sysadmin/credentials", READERS, tenant=False),
    Route("GET", "/api/v1/sysadmin/credentials?tenant_id={t}", READERS),
    Route("GET", "/api/v1/audit/entries", _of(Role.AUDITOR), tenant=False),
    Route("GET", "/api/v1/audit/entries?tenant_id={t}", _of(Role.AUDITOR)),
    Route("GET", "/api/v1/audit/entries?tenant_id={t}&provider=openai", _of(Role.AUDITOR), provider="openai"),
    Route("GET", "/api/v1/audit/entries/1", _of(Role.AUDITOR), tenant=False),
    Route("GET", "/api/v1/audit/usage?tenant_id={t}", _of(Role.AUDITOR)),
    Route("GET", "/api/v1/sysadmin/encryption-keys", READERS, tenant=False),
    Route("GET", "/api/v1/sysadmin/projections", _of(Role.OPERATOR), tenant=False),
    Route("GET", KEYS_PATH, READERS, tenant=False),
    Route("GET", f"{KEYS_PATH}/app/usage", READERS, tenant=False),
    Route("POST", f"{KEYS_PATH}/by-token/revoke", _of(), tenant=False, body={"token": "x"}),
    Route("POST", f"{MODELS}/chat/completions", CALLERS, True, "openai", "gpt-4o", "openai", CHAT),
    Route("POST", f"{MODELS}/embeddings", CALLERS, True, "openai", "text-embedding-3-small", "openai", EMBED),
    Route("POST", f"{MODELS}/images/generations", CALLERS, True, "openai", "gpt-4o", "openai", CHAT),
    Route("DELETE", f"{MODELS}/files/f1?provider=mistral", CALLERS, True, "mistral", None, "openai"),
    Route("GET", f"{MODELS}/models", CALLERS, surface="openai", lists=True),
    Route("POST", f"{NATIVE}/openai/v1/chat/completions", CALLERS, True, "openai", surface="native", body=CHAT),
    Route("GET", f"{NATIVE}/mistral/v1/files/f1", CALLERS, True, "mistral", surface="native"),
    Route("DELETE", f"{NATIVE}/openai/v1/files/f1", CALLERS, True, "openai", surface="native"),
    Route("GET", f"{ADMIN}", READERS),
    Route("PUT", f"{ADMIN}", _of(), body={"name": "Acme"}),
    Route("GET", f"{ADMIN}/policy", READERS),
    Route("PUT", f"{ADMIN}/policy", _of(), body={}),
    Route("POST", f"{ADMIN}/freeze", _of()),
    Route("POST", f"{ADMIN}/thaw", _of()),
    Route("POST", f"{ADMIN}/credentials/openai/check", _of(), provider="openai"),
    Route("GET", f"{OWN}/credentials", OWNERS),
    Route("GET", f"{OWN}/credentials/openai", OWNERS, provider="openai"),
    Route("PUT", f"{OWN}/credentials/openai", OWNERS, provider="openai", body={"api_key": "sk-0123456789"}),
    Route("DELETE", f"{OWN}/credentials/mistral", OWNERS, provider="mistral"),
    Route("POST", f"{OWN}/credentials/openai/check", OWNERS, provider="openai"),
    Route("GET", f"{OWN}/credentials/openai/history", OWNERS, provider="openai"),
    Route("GET", f"{OWN}/usage", OWNERS),
    Route("GET", f"{OWN}/audit", OWNERS),
    Route("GET", f"{OWN}/policy", _of()),
    Route("POST", f"{OWN}/freeze", _of()),
    Route("GET", "/api/v1/nothing/here", _of(), tenant=False),
]
SCOPES: dict[str, dict[str, Any]] = {
    "everything": {},
    "one tenant": {"tenants": [TENANT]},
    "another tenant": {"tenants": [OTHER_TENANT]},
    "both tenants": {"tenants": [TENANT, OTHER_TENANT]},
    "one provider": {"providers": ["openai"]},
    "another provider": {"providers": ["mistral"]},
    "a tenant and a provider": {"tenants": [TENANT], "providers": ["openai"]},
    "a model": {"models": ["gpt-4*"], "surfaces": ["openai"]},
    "one surface": {"surfaces": ["openai"]},
    "the other surface": {"surfaces": ["native"]},
    "some routes": {"native_routes": ["GET:v1/files/*"]},
    "its network": {"networks": ["192.0.2.0/24"]},
    "another network": {"networks": ["198.51.100.0/24"]},
    "soon over": {"expires_at": (START + timedelta(days=3650)).isoformat()},
    "revoked": {},
}
CASES = len(ROUTES) * len(SCOPES) * len(Role) * 2


def expected(role: Role, scope: dict[str, Any], name: str, route: Route, tenant: str) -> str:
    """Return what the words of the documentation say: the code of the problem, or "" where there is none."""
    if name == "revoked":
        return "access-key-refused"

    def outside(dimension: str, named: str | None) -> bool:
        return scope.get(dimension) is not None and named not in scope[dimension]

    refused = name == "another network" or outside("tenants", tenant if route.tenant else None)
    calls = route.surface is not None and role in route.roles and not route.lists
    if route.surface is not None and (calls or route.lists):
        refused = refused or outside("surfaces", route.surface)
    if calls and route.surface == "native":
        refused = refused or ("native_routes" in scope and not ("/files/" in route.path and route.method == "GET"))
    if not route.lists and (calls or route.surface is None):
        refused = refused or outside("providers", route.provider)
        refused = refused or ("models" in scope and not (route.model or "").startswith("gpt-4"))
    if refused:
        return "outside-scope"
    return "" if role in route.roles else "forbidden"


def test_the_table_has_two_thousand_cases() -> None:
    assert CASES >= 2_000


@pytest.fixture(scope="module")
def shared() -> Harness:
    harness = Harness()
    harness.client = client_on(harness.app, {"X-API-Key": SUPER_KEY}, ("192.0.2.7", 50_000))
    return harness


@pytest.mark.parametrize("name", SCOPES)
@pytest.mark.parametrize("role", Role)
def test_a_key_reaches_what_its_role_and_its_scope_name(shared: Harness, role: Role, name: str) -> None:
    harness, scope = shared, SCOPES[name]
    key = f"{role}-{name}".replace(" ", "-")
    body = {"name": key, "role": role.value, **({"tenants": [TENANT, OTHER_TENANT]} if role == "tenant-admin" else {})}
    made = harness.client.post(KEYS_PATH, json={**body, **scope})
    if made.status_code == 422:  # only a runtime key can be limited to what calls name
        assert role is not Role.RUNTIME and {"models", "surfaces", "native_routes"} & scope.keys()
        return
    if name == "revoked":
        assert harness.client.delete(f"{KEYS_PATH}/{key}").status_code == 200
    limited = {**({"tenants": [TENANT, OTHER_TENANT]} if role == "tenant-admin" else {}), **scope}
    turn = list(Role).index(role) + list(SCOPES).index(name)
    for route, tenant in list(itertools.product(ROUTES, (TENANT, OTHER_TENANT)))[turn % SHARE :: SHARE]:
        path = route.path.replace("{t}", tenant)
        answer = harness.client.request(
            route.method, path, json=route.body, headers={"X-API-Key": made.json()["token"]}
        )
        code = answer.json().get("code", "") if answer.status_code in {401, 403} else ""
        assert code == expected(role, limited, name, route, tenant), (route.method, path, answer.text)
        if code == "outside-scope":
            assert (OTHER_TENANT if tenant == TENANT else TENANT) not in answer.text or "tenant" in answer.text


TENANTS, PROVIDERS = [TENANT, OTHER_TENANT], ["openai", "mistral"]
_ANY_SCOPE = st.fixed_dictionaries(
    {},
    optional={
        "tenants": st.lists(st.sampled_from(TENANTS), min_size=1, max_size=2),
        "providers": st.lists(st.sampled_from(PROVIDERS), min_size=1, max_size=2),
        "native_routes": st.lists(
            st.sampled_from(["GET:v1/files/*", "*:v1/batches", "POST:**", "GET:v1/files"]), min_size=1, max_size=2
        ),
    },
)
_ANY_CALL = st.tuples(
    st.sampled_from(TENANTS),
    st.sampled_from(PROVIDERS),
    st.sampled_from(["GET", "POST", "DELETE"]),
    st.sampled_from(["v1/files/f1", "v1/files", "v1/batches", "v1/files/f1/content", "v1/files/../x", "V1/files"]),
)
_numbers = itertools.count()


@settings(deadline=None, max_examples=40)
@given(_ANY_SCOPE, st.lists(_ANY_CALL, min_size=1, max_size=6))
def test_no_call_outside_the_scope_reaches_a_provider(scope: dict[str, Any], calls: list[tuple[str, ...]]) -> None:
    harness = _harness()
    body = {"name": f"random-{next(_numbers)}", "role": "runtime", **scope}
    token = harness.client.post(KEYS_PATH, json=body).json()["token"]
    harness.native.calls.clear()
    for tenant, provider, method, path in calls:
        address = f"/api/v1/tenants/{tenant}/providers/{provider}/{path}"
        harness.client.request(method, address, headers={"X-API-Key": token})
    for reached in harness.native.calls:
        assert reached.tenant_id in scope.get("tenants", TENANTS)
        assert reached.provider in scope.get("providers", PROVIDERS)
        assert any(
            fnmatchcase(f"{reached.method}:{reached.path}", route.replace("**", "*"))
            and ("**" in route or route.count("/") == reached.path.count("/"))
            for route in scope.get("native_routes", ["*:**"])
        )


@cache
def _harness() -> Harness:
    return Harness()
