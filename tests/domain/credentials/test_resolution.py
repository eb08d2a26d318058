"""The resolution of a call's key: the whole truth table; damage is never taken for absence."""

import asyncio
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.credentials.credential import Credential, evolve
from domain.credentials.providers import CredentialConfig
from domain.credentials.resolution import GlobalCredential, ResolutionPolicy, Resolver, Route, Source, choose
from domain.credentials.secret import Secret
from domain.credentials.stored import CallRows, Head, Stored
from domain.errors import CredentialIntegrityError, NoCredentialError, StoreUnavailableError, UnreadableCredentialError
from domain.tenants.stored import TenantRow
from domain.tenants.tenant import Tenant
from tests.support.each import each
from tests.support.scenario import KEY, OTHER_KEY, TENANT, ClearSealer, was_deleted, was_set
from tests.support.tenants import tenant_reader

GLOBAL = {"openai": GlobalCredential(Secret("sk-global-openai")), "vllm": GlobalCredential(Secret("sk-global-vllm"))}
LIVE, GONE = evolve(was_set(3)), evolve(was_deleted(4))
HEAD_SET, HEAD_DELETED = Head(3, "CredentialSet"), Head(4, "CredentialDeleted")
NEVER = Stored(None, None)

TENANT_KEY, GLOBAL_KEY = Source.TENANT, Source.GLOBAL
Outcome = Source | type[Exception]


@dataclass(frozen=True)
class Case:
    stored: Stored
    expected: Outcome
    has_global: bool = True
    enabled: bool = True
    fallback: bool = True
    tenant_capable: bool = True


INTEGRITY = CredentialIntegrityError
TABLE = {
    "the tenant has one": Case(Stored(LIVE, HEAD_SET), TENANT_KEY),
    "the tenant has one and there is no global key": Case(Stored(LIVE, HEAD_SET), TENANT_KEY, has_global=False),
    "the tenant has one and fallback is denied": Case(Stored(LIVE, HEAD_SET), TENANT_KEY, fallback=False),
    "the tenant never had one": Case(NEVER, GLOBAL_KEY),
    "the tenant's was deleted": Case(Stored(GONE, HEAD_DELETED), GLOBAL_KEY),
    "the tenant has none and fallback is denied": Case(NEVER, NoCredentialError, fallback=False),
    "no one has one": Case(NEVER, NoCredentialError, has_global=False),
    "the row is missing": Case(Stored(None, HEAD_SET), INTEGRITY),
    "the row of a deleted one is missing": Case(Stored(None, HEAD_DELETED), INTEGRITY),
    "the row has no events": Case(Stored(LIVE, None), INTEGRITY),
    "the row is of an older version": Case(Stored(replace(LIVE, version=2), HEAD_SET), INTEGRITY),
    "the row is of a version to come": Case(Stored(replace(LIVE, version=4), HEAD_SET), INTEGRITY),
    "a live row of a deleted one": Case(Stored(replace(LIVE, version=4), HEAD_DELETED), INTEGRITY),
    "a row marked deleted of a live one": Case(Stored(replace(GONE, version=3), HEAD_SET), INTEGRITY),
    "the feature is off": Case(Stored(LIVE, HEAD_SET), GLOBAL_KEY, enabled=False),
    "the feature is off and no one has one": Case(NEVER, NoCredentialError, enabled=False, has_global=False),
    "the feature is off and fallback is denied": Case(NEVER, GLOBAL_KEY, enabled=False, fallback=False),
    "a legacy model": Case(Stored(LIVE, HEAD_SET), GLOBAL_KEY, tenant_capable=False),
    "a legacy model without a global key": Case(NEVER, NoCredentialError, tenant_capable=False, has_global=False),
}


def policy(case: Case) -> ResolutionPolicy:
    return ResolutionPolicy(case.enabled, case.fallback, GLOBAL if case.has_global else {})


@each("case", [pytest.param(case, id=name) for name, case in TABLE.items()])
def test_the_key_that_serves(case: Case) -> None:
    def chosen() -> Route:
        return choose(Tenant(TENANT), "openai", case.stored, policy(case), tenant_capable=case.tenant_capable)

    if isinstance(case.expected, Source):
        assert chosen().receipt.source is case.expected
    else:
        with pytest.raises(case.expected):
            chosen()


@given(
    st.sampled_from([LIVE, GONE, None]),
    st.sampled_from([HEAD_SET, HEAD_DELETED, None]),
    st.integers(-1, 1),
    st.booleans(),
)
def test_a_tenant_with_events_gets_the_global_key_only_after_a_delete(
    row: Credential | None, head: Head | None, shift: int, fallback: bool
) -> None:
    shifted = replace(row, version=row.version + shift) if row else None
    try:
        route = choose(
            Tenant(TENANT),
            "openai",
            Stored(shifted, head),
            ResolutionPolicy(True, fallback, GLOBAL),
            tenant_capable=True,
        )
    except (CredentialIntegrityError, NoCredentialError):
        return
    if route.receipt.source is Source.GLOBAL:
        assert fallback
        assert head in {None, HEAD_DELETED}
        assert (head is None) == (row is None)
    else:
        assert head == HEAD_SET


def with_config(provider: str, endpoint: str | None = None) -> Stored:
    return Stored(replace(LIVE, provider=provider, config=CredentialConfig(endpoint)), HEAD_SET)


ADDRESSES = [
    pytest.param("openai", None, {}, "https://api.openai.com/v1", False, id="the provider's own"),
    pytest.param("openai", None, {"openai": "http://proxy/v1"}, "http://proxy/v1", False, id="the operator's"),
    pytest.param(
        "openai",
        "https://eu.example.com",
        {"openai": "http://proxy/v1"},
        "https://eu.example.com",
        True,
        id="the tenant's",
    ),
    pytest.param("vllm", "https://own.example.com", {}, "https://own.example.com", True, id="vllm of the tenant"),
    pytest.param("vllm", None, {"vllm": "http://gpu:8000"}, "http://gpu:8000", False, id="the global vllm"),
]


@pytest.mark.parametrize(("provider", "endpoint", "base_urls", "expected", "chosen_by_tenant"), ADDRESSES)
def test_the_address_of_a_tenants_call(
    provider: str, endpoint: str | None, base_urls: dict[str, str], expected: str, chosen_by_tenant: bool
) -> None:
    policy = ResolutionPolicy(True, True, {}, base_urls)
    route = choose(Tenant(TENANT), provider, with_config(provider, endpoint), policy, tenant_capable=True)
    assert (route.base_url, route.tenant_endpoint) == (expected, chosen_by_tenant)


def test_a_vllm_credential_without_any_address_is_an_error_and_not_the_global_key() -> None:
    policy = ResolutionPolicy(True, True, {"vllm": GlobalCredential(Secret("sk-global"), "http://gpu")})
    with pytest.raises(NoCredentialError):
        choose(Tenant(TENANT), "vllm", with_config("vllm"), policy, tenant_capable=True)


class View:
    def __init__(self, stored: Stored | Exception) -> None:
        self.stored = stored

    async def read(self, tenant_id: str, provider: str, digest: str | None = None) -> CallRows:
        if isinstance(self.stored, Exception):
            raise self.stored
        return CallRows(self.stored, TenantRow())


def resolve(stored: Stored | Exception, sealer: ClearSealer = ClearSealer(), *, enabled: bool = True) -> str:
    resolver = Resolver(View(stored), sealer, ResolutionPolicy(enabled, True, GLOBAL), tenant_reader())
    return asyncio.run(resolver.resolve(TENANT, "openai", tenant_capable=True)).secret.reveal()


def test_a_tenants_key_is_opened_for_the_call() -> None:
    assert resolve(Stored(LIVE, HEAD_SET)) == KEY


@pytest.mark.parametrize(
    ("stored", "sealer", "error"),
    [
        pytest.param(
            Stored(LIVE, HEAD_SET), ClearSealer(known=[]), UnreadableCredentialError, id="its key is not here"
        ),
        pytest.param(
            Stored(evolve(replace(was_set(3), sealed=was_set(2, OTHER_KEY).sealed)), HEAD_SET),
            ClearSealer(),
            CredentialIntegrityError,
            id="its token was sealed for another place",
        ),
        pytest.param(StoreUnavailableError(), ClearSealer(), StoreUnavailableError, id="the store does not answer"),
    ],
)
def test_what_cannot_be_resolved_is_an_error_and_never_the_global_key(
    stored: Stored | Exception, sealer: ClearSealer, error: type[Exception]
) -> None:
    with pytest.raises(error):
        resolve(stored, sealer)


def test_the_store_is_not_asked_while_the_feature_is_off() -> None:
    assert resolve(StoreUnavailableError(), enabled=False) == "sk-global-openai"


def test_the_dry_run_refuses_what_the_call_would_refuse() -> None:
    policy = ResolutionPolicy(True, True, GLOBAL)
    resolver = Resolver(View(Stored(LIVE, HEAD_SET)), ClearSealer(known=[]), policy, tenant_reader())
    with pytest.raises(UnreadableCredentialError):
        asyncio.run(resolver.explain(TENANT, "openai", tenant_capable=True))


REMEDIES = [
    pytest.param(True, True, "PUT /api/v1/sysadmin", id="a tenant's own key would help"),
    pytest.param(True, False, "litellm_model_name", id="a legacy model takes the platform's key only"),
    pytest.param(False, True, "configure the platform's key", id="tenants' keys are switched off"),
]


@pytest.mark.parametrize(("enabled", "tenant_capable", "remedy"), REMEDIES)
def test_the_remedy_for_no_key_would_help(enabled: bool, tenant_capable: bool, remedy: str) -> None:
    with pytest.raises(NoCredentialError) as refused:
        choose(Tenant(TENANT), "openai", NEVER, ResolutionPolicy(enabled, True), tenant_capable=tenant_capable)
    assert remedy in refused.value.detail
    assert ("PUT" in refused.value.detail) == (remedy.startswith("PUT"))
