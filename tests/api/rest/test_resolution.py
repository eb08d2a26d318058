"""The dry run of a call."""

import pytest

from domain.credentials.built_in_providers import BUILT_IN
from domain.credentials.resolution import Route
from domain.errors import CredentialIntegrityError, NoCredentialError, StoreUnavailableError
from tests.api.conftest import TENANT
from tests.api.scripted import GLOBAL_RECEIPT, TENANT_RECEIPT

OPENAI = BUILT_IN["openai"]
URL = f"/api/v1/sysadmin/tenants/{TENANT}/resolution"
ABOUT = {"model": "gpt-4o", "adapter": "litellm", "provider": "openai"}


@pytest.mark.parametrize(
    ("receipt", "shown"),
    [
        pytest.param(
            TENANT_RECEIPT, {"source": "tenant", "version": 3, "key_id": "k0123456789"}, id="the tenant's key"
        ),
        pytest.param(GLOBAL_RECEIPT, {"source": "global", "version": None, "key_id": None}, id="the global key"),
    ],
)
def test_it_says_whose_key_would_serve_and_where(harness, receipt, shown):
    harness.models.route = lambda: Route(receipt, OPENAI, "https://api.openai.com/v1", False, None, None, None)
    answer = harness.client.get(URL, params={"model": "gpt-4o"})
    assert answer.json() == {**ABOUT, **shown, "endpoint": "https://api.openai.com/v1", "refusal": None}


@pytest.mark.parametrize(
    "refused",
    [
        pytest.param(NoCredentialError(TENANT, "openai", "neither has one"), id="no key at all"),
        pytest.param(CredentialIntegrityError("view-not-at-head"), id="damaged"),
    ],
)
def test_a_refusal_that_a_call_would_meet_is_the_answer(harness, refused):
    def refuse():
        raise refused

    harness.models.route = refuse
    nothing = {"source": "none", "endpoint": None, "version": None, "key_id": None}
    answer = harness.client.get(URL, params={"model": "gpt-4o"})
    assert answer.json() == {**ABOUT, **nothing, "refusal": {"code": refused.code, "detail": refused.detail}}


def test_a_store_that_does_not_answer_is_no_answer_about_keys(harness):
    def fail():
        raise StoreUnavailableError

    harness.models.route = fail
    assert harness.client.get(URL, params={"model": "gpt-4o"}).status_code == 503


@pytest.mark.parametrize(
    ("query", "status"),
    [("model=other", 404), ("", 422), ("model=", 422), (f"model={'x' * 257}", 422), ("model=gpt-4o&model=x", 422)],
)
def test_a_model_must_be_named_and_known(harness, query, status):
    assert harness.client.get(f"{URL}?{query}").status_code == status
