"""Routes that administer an account are closed in every spelling; routes that the operator opens, as tables."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.calls.native_path import normalised_path
from domain.calls.native_rules import NativeRules, OpenedRoute, is_account_route
from domain.errors import ErrorCode, InvalidRequestError
from tests.support.each import each
from tests.support.errors import raises

ACCOUNT = [
    "v1/organization",
    "v1/organization/",
    "organization/costs",
    "v1/v1/organization/costs",
    "v1/Organization/users",
    "V1/ORGANIZATION",
    "v1/organizations/me",
    "v1/organisation",
    "v1/organization/admin_api_keys",
    "v1/organization;x=1/projects",
    "v1/organization%3Bx",
    "v1/organization%3Fa=1",
    "v1/organization%23",
    "v1/organization.json",
    "v1/organization%20",
    "v1/%20organization",
    "v1/%6frganization",
    "v1/files%2F%6Frganization",
    "v1%2Forganization",
    "v1/admin-api-keys",
    "v1/adminApiKeys",
    "v1/api_keys/k",
    "v1/apiKeys",
    "v1/api-key",
    "v1/service_accounts",
    "v1/projects/p/service_accounts",
    "dashboard/billing/usage",
    "v1/dashboard/billing/credit_grants",
    "v1/billing/subscription",
    "v1/usage",
    "v1/costs",
    "v1/users/me",
    "v1/invites",
    "v1/workspaces",
    "v1/team/new",
    "v1/audit_logs",
    "key",
    "v1/key",
    "keys/k",
    "v1/accounts/a/users",
    "v1beta/keys",
    "v1/realtime/client_secrets",
    "v1/fine_tuning/checkpoints/c/permissions",
    "v1/compliance/logs",
    "v1/roles",
    "v1/groups/g",
    "v1/webhooks",
    "v1/access_tokens",
    "v1/organizations/cost_report",
    "v1/usage_report/messages",
    "model/new",
    "user_info",
    "customer/info",
    "config/update",
]
OPEN = [
    *(
        "v1/chat/completions",
        "v1/models",
        "v1/models/org-model",
        "v1/files/key",
        "v1/files/file-users",
        "v1/responses/r",
    ),
    *("v1/fine_tuning/jobs/j/events", "v1/vector_stores/v/files", "v1/messages/batches/b/results", "v1/organizer"),
    *("v1/threads/t/runs/r/steps", "v1/keyboards", "v1/tokenize", "v1/whoami", "openai/deployments/d/chat/completions"),
    *("v1/models/ft:gpt-4o:my-organization::id", "v1/models/organization-7b", "v1/user_data", "v1/containers/c/files"),
]


@each("path", ACCOUNT)
def test_a_route_of_the_account_is_found_in_every_spelling(path: str) -> None:
    with raises(ErrorCode.ACCOUNT_ROUTE_CLOSED):
        NativeRules().require_open(normalised_path(path))
    NativeRules(account_routes=True).require_open(normalised_path(path))


@each("path", OPEN)
def test_other_routes_are_open(path: str) -> None:
    NativeRules().require_open(normalised_path(path))


@given(
    st.lists(st.sampled_from(["v1", "x", "%2F", ";a=1", "%20", "files"]), max_size=3),
    st.sampled_from(["organization", "Billing", "%75sers", "api-keys", "ADMIN"]),
    st.lists(st.sampled_from(["/x", ";a", "%2Fx", ".", "%20", "/"]), max_size=3),
)
def test_nothing_around_a_segment_hides_it(before: list[str], word: str, after: list[str]) -> None:
    try:
        path = normalised_path("/".join([*before, word]) + "".join(after))
    except InvalidRequestError:
        return
    assert is_account_route(path)


KNOWN = ("openai", "anthropic")
REFUSED = {
    "": "provider:METHOD:path",
    "openai": "provider:METHOD:path",
    "openai:GET": "provider:METHOD:path",
    "openai:GET:": "provider:METHOD:path",
    "acme:GET:v1/models": "no provider",
    "OPENAI:GET:v1/models": "no provider",
    "openai:FETCH:v1/models": "one of",
    "openai::v1/models": "one of",
    "openai:GET:v1//models": "segments",
    "openai:GET:v1/**/x": "segments",
    "openai:GET:v1/mod*": "segments",
    "openai:GET:v1/***": "segments",
    "openai:GET:v1/../models": "plain",
    "openai:GET:v1/models?x=1": "plain",
    "openai:GET:v1/%6Dodels": "plain",
    "openai:GET:v1/models/": "segments",
    "openai:GET:/": "segments",
}


@each(("entry", "rule"), REFUSED.items())
def test_an_entry_that_opens_no_route_is_an_error_that_does_not_repeat_it(entry: str, rule: str) -> None:
    with pytest.raises(ValueError, match=rule) as caught:
        OpenedRoute.read(entry, KNOWN)
    assert entry in "openai:GET:v1/models" or entry not in str(caught.value)


@pytest.mark.parametrize(
    "entry", ["openai:GET:v1/models", "openai:*:v1/files/**", "openai:POST:v1/x/*/y", "openai:GET:**"]
)
def test_an_entry_is_shown_as_it_was_read(entry: str) -> None:
    assert str(OpenedRoute.read(entry, KNOWN)) == entry
    assert OpenedRoute.read(entry.replace("v1/", "/v1/"), KNOWN) == OpenedRoute.read(entry, KNOWN)
