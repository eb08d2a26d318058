"""The operator's rules for a tenant, over calls and changes: the global key never takes the place of an error."""

import asyncio
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.access.tenants import Tenants
from domain.credentials.commands import DeleteCredential, Precondition, SetCredential
from domain.credentials.providers import CredentialConfig
from domain.credentials.resolution import GlobalCredential, ResolutionPolicy, Resolver
from domain.credentials.secret import Secret
from domain.credentials.service import CredentialService
from domain.credentials.stored import CallRows
from domain.errors import CredentialIntegrityError, ErrorCode, ServiceError, UnresolvableError
from domain.events.event import Event
from domain.tenants.policy import TenantPolicy
from domain.tenants.tenant import Profile
from tests.support.scenario import NOW, TENANT, ClearSealer, meta
from tests.support.tenants import tenant_reader
from tests.support.twins.current_credentials import MemoryCurrentCredentials
from tests.support.twins.log import MemoryLog
from tests.support.twins.tenants import MemoryTenants

ANY = Precondition()
KEY, OWN_ENDPOINT = "sk-tenant-0123456789", "https://llm.example.com/v1"


class Calls:
    """A tenant's calls and changes on a log in memory. required: registration is."""

    def __init__(self, *, required: bool = False) -> None:
        self.log, self.sealer = MemoryLog(), ClearSealer()
        self.current, self.listed = MemoryCurrentCredentials(self.log), MemoryTenants(self.log)
        self.tenants = Tenants(self.log, self.listed, lambda: NOW, ["openai", "mistral"])
        self.service = CredentialService(
            self.log, self.current, self.sealer, lambda: NOW, lambda seconds: None, registration_required=required
        )
        policy = ResolutionPolicy(
            True,
            True,
            {"openai": GlobalCredential(Secret("sk-global-0123456789"))},
            registration_required=required,
        )
        self.resolver = Resolver(self, self.sealer, policy, tenant_reader())

    async def read(self, tenant_id: str, provider: str, digest: str | None = None) -> CallRows:
        return CallRows(self.current.read(tenant_id, provider), self.listed.row(tenant_id))

    def call(self, *, tenant_capable: bool = True) -> str:
        """The key that serves a call, or the code of its error."""
        try:
            resolving = self.resolver.resolve(TENANT, "openai", tenant_capable=tenant_capable)
            return asyncio.run(resolving).secret.reveal()
        except ServiceError as error:
            return error.code

    def put(self, endpoint: str | None = None, *, accepted: bool = False) -> str:
        number = len(self.log.events)
        config = CredentialConfig(endpoint)
        return self._done(
            SetCredential(TENANT, "openai", Secret(KEY), config, meta(f"put-{number}"), accepted=accepted)
        )

    def delete(self, *, by_operator: bool = False) -> str:
        meta_ = meta(f"delete-{len(self.log.events)}")
        return self._done(DeleteCredential(TENANT, "openai", meta_, by_operator=by_operator))

    def _done(self, command: SetCredential | DeleteCredential) -> str:
        try:
            self.service.handle(command)
        except ServiceError as error:
            return error.code
        return ""


@given(
    st.sampled_from([None, ("openai",), ("mistral",)]),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.sampled_from([None, "without", "with an endpoint"]),
    st.booleans(),
)
def test_any_policy_is_obeyed_by_calls(
    providers: tuple[str, ...] | None,
    own_endpoints: bool,
    fallback: bool,
    frozen: bool,
    required: bool,
    credential: str | None,
    registered: bool,
) -> None:
    calls = Calls(required=required)
    calls.tenants.register(TENANT, Profile("Acme"), meta("r"), ANY)
    if credential is not None:
        assert calls.put(OWN_ENDPOINT if credential == "with an endpoint" else None) == ""
    if not registered:  # as if it had never been
        calls.log.events = [event for event in calls.log.events if event.command_id != "r"]
    calls.tenants.change_policy(TENANT, TenantPolicy(providers, own_endpoints, fallback), meta("p"), ANY)
    if frozen:
        calls.tenants.freeze(TENANT, meta("f"), ANY)
    if frozen:
        expected = "tenant-frozen"
    elif required and not registered:
        expected = "tenant-not-registered"
    elif providers == ("mistral",) or (credential == "with an endpoint" and not own_endpoints):
        expected = "outside-policy"
    elif credential is not None:
        expected = KEY
    else:
        expected = "sk-global-0123456789" if fallback else "no-credential"
    assert calls.call() == expected


def test_a_frozen_tenant_changes_nothing_but_what_an_operator_deletes_for_it() -> None:
    calls = Calls()
    assert calls.put() == ""
    calls.tenants.freeze(TENANT, meta("f"), ANY)
    assert [calls.put(), calls.delete(), calls.call(), calls.call(tenant_capable=False)] == ["tenant-frozen"] * 4
    assert calls.delete(by_operator=True) == ""
    calls.tenants.thaw(TENANT, meta("t"), ANY)
    assert [calls.call(), calls.put(), calls.call()] == ["sk-global-0123456789", "", KEY]


PUTS = [
    pytest.param(TenantPolicy(("mistral",)), None, False, ErrorCode.OUTSIDE_POLICY, id="another provider"),
    pytest.param(TenantPolicy(own_endpoints=False), OWN_ENDPOINT, False, ErrorCode.OUTSIDE_POLICY, id="an endpoint"),
    pytest.param(TenantPolicy(own_endpoints=False), None, False, "", id="without one"),
    pytest.param(TenantPolicy(key_check=True), None, False, ErrorCode.KEY_NOT_CHECKED, id="not checked"),
    pytest.param(TenantPolicy(key_check=True), None, True, "", id="checked"),
]


@pytest.mark.parametrize(("policy", "endpoint", "accepted", "code"), PUTS)
def test_a_policy_is_obeyed_by_changes(policy: TenantPolicy, endpoint: str | None, accepted: bool, code: str) -> None:
    calls = Calls()
    calls.tenants.change_policy(TENANT, policy, meta("p"), ANY)
    assert calls.put(endpoint, accepted=accepted) == code
    assert calls.delete() == ("" if not code else ErrorCode.CREDENTIAL_NOT_FOUND)


def test_a_tenant_has_to_be_registered_to_set_a_key_and_not_to_delete_one() -> None:
    calls = Calls(required=True)
    assert [calls.put(), calls.delete(), calls.call()] == [
        "tenant-not-registered",
        "credential-not-found",
        "tenant-not-registered",
    ]
    calls.tenants.register(TENANT, Profile("Acme"), meta("r"), ANY)
    assert [calls.put(), calls.call(), calls.delete()] == ["", KEY, ""]


def test_a_change_is_refused_where_nothing_proves_the_rules() -> None:
    class Doubtful(MemoryLog):
        def proves(self, event: Event) -> bool:
            return False

    calls = Calls()
    calls.tenants.thaw(TENANT, meta("t"), ANY)
    calls.tenants.change_policy(TENANT, TenantPolicy(fallback=False), meta("p"), ANY)
    doubtful = Doubtful()
    doubtful.events = calls.log.events
    service = CredentialService(doubtful, MemoryCurrentCredentials(doubtful), ClearSealer(), lambda: NOW)
    with pytest.raises(CredentialIntegrityError, match="tenant"):
        service.handle(SetCredential(TENANT, "openai", Secret(KEY), CredentialConfig(), meta("put")))


def test_one_tenants_rules_do_not_refuse_the_changes_of_another_in_the_same_batch() -> None:
    calls = Calls()
    calls.tenants.freeze(TENANT, meta("f"), ANY)
    commands = [
        SetCredential(tenant, "openai", Secret(KEY), CredentialConfig(), replace(meta(f"put-{tenant}")))
        for tenant in (TENANT, "0e02b2c3-58cc-4372-a567-0e02b2c3d479")
    ]
    frozen, stored = calls.service.handle_all(commands)
    assert isinstance(frozen, UnresolvableError)
    assert not isinstance(stored, Exception)
