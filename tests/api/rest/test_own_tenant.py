"""A tenant's admin looks after the tenant's own credentials, and learns nothing about anyone else."""

from typing import Any

import pytest

from domain.errors import ProviderUnavailableError
from tests.api.conftest import CREDENTIALS, OTHER_TENANT, TENANT, Harness
from tests.api.rest.test_access_keys import KEYS_PATH

OWN = f"/api/v1/tenants/{TENANT}"


class Admin:
    """A tenant's admin, who has an access key for the one tenant."""

    def __init__(self, harness: Harness, **scope: Any) -> None:
        body = {"name": f"admin-{len(harness.log.events)}", "role": "tenant-admin", "tenants": [TENANT], **scope}
        token = harness.client.post(KEYS_PATH, json=body).json()["token"]
        self._harness, self._headers = harness, {"X-API-Key": token}

    def send(self, method: str, path: str, headers: dict[str, str] | None = None, **more: Any) -> Any:
        return self._harness.client.request(method, path, headers={**self._headers, **(headers or {})}, **more)


def test_the_routes_of_a_tenant_do_what_those_of_the_operator_do(harness: Harness) -> None:
    admin = Admin(harness)
    put = admin.send("PUT", f"{OWN}/credentials/openai", json={"api_key": "sk-0123456789"})
    assert (put.status_code, put.headers["ETag"], put.json()["masked_key"]) == (200, '"v1"', "...6789")
    for path in ("", "/openai", "/openai/history"):
        own, operators = admin.send("GET", f"{OWN}/credentials{path}"), harness.client.get(f"{CREDENTIALS}{path}")
        assert (own.status_code, own.json().keys()) == (200, operators.json().keys())
    assert harness.client.get(CREDENTIALS).json() == admin.send("GET", f"{OWN}/credentials").json()
    conflict = admin.send("PUT", f"{OWN}/credentials/openai", {"If-Match": '"v9"'}, json={"api_key": "sk-1123456789"})
    assert conflict.status_code == 412
    checked = admin.send("POST", f"{OWN}/credentials/openai/check").json()
    assert checked == {"tenant_id": TENANT, "provider": "openai", "version": 3, "accepted": True}
    assert admin.send("DELETE", f"{OWN}/credentials/openai").status_code == 200
    assert admin.send("GET", f"{OWN}/usage").json() == {"usage": [], "next": None}
    assert admin.send("GET", f"{OWN}/usage/tokens").json() == {"usage": [], "prices": "none", "next": None}


def test_a_change_of_an_admin_is_recorded_with_its_key_and_its_reason(harness: Harness) -> None:
    admin = Admin(harness)
    admin.send("PUT", f"{OWN}/credentials/openai", {"X-Audit-Reason": "ticket 1"}, json={"api_key": "sk-0123456789"})
    (entry,) = admin.send("GET", f"{OWN}/audit", params={"action": "set"}).json()["entries"]
    assert (entry["role"], entry["reason"], entry["client_address"]) == ("tenant-admin", "ticket 1", "testclient")
    assert entry["actor"].startswith("admin-")


def test_the_audit_of_a_tenant_is_its_own_and_hides_the_addresses_of_operators(harness: Harness) -> None:
    admin = Admin(harness)
    harness.put()
    other = f"/api/v1/sysadmin/tenants/{OTHER_TENANT}/credentials/openai"
    harness.client.put(other, json={"api_key": "sk-9123456789"})
    harness.client.post(f"/api/v1/sysadmin/tenants/{TENANT}/freeze", headers={"X-Audit-Reason": "a leak"})
    entries = admin.send("GET", f"{OWN}/audit").json()["entries"]
    assert [one["action"] for one in entries] == ["set", "tenant-frozen"]
    assert {one["tenant_id"] for one in entries} == {TENANT}
    assert {one["client_address"] for one in entries} == {None}
    assert entries[-1]["reason"] == "a leak"
    history = admin.send("GET", f"{OWN}/credentials/openai/history").json()["entries"]
    assert [one["client_address"] for one in history] == [None]
    assert harness.client.get(f"{OWN}/audit").json()["entries"][0]["client_address"] == "testclient"


def test_the_audit_of_a_tenant_does_not_name_who_was_denied(harness: Harness) -> None:
    admin, other = Admin(harness), Admin(harness, tenants=[OTHER_TENANT])
    other.send("GET", f"{OWN}/credentials")
    (entry,) = admin.send("GET", f"{OWN}/audit").json()["entries"]
    assert (entry["outcome"], entry["details"]["code"]) == ("denied", "outside-scope")
    assert (entry["actor"], entry["client_address"]) == ("unknown", None)
    (entry,) = harness.client.get(f"{OWN}/audit", params={"outcome": "denied"}).json()["entries"]
    assert entry["actor"].startswith("admin-")


@pytest.mark.parametrize("parameter", ["tenant_id", "q", "text", "reason", "actor"])
def test_the_audit_of_a_tenant_is_not_searched_by_what_it_hides(harness: Harness, parameter: str) -> None:
    answer = Admin(harness).send("GET", f"{OWN}/audit", params={parameter: TENANT})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid-request")


@pytest.mark.parametrize(
    "path", ["credentials", "credentials/openai", "credentials/openai/history", "usage", "usage/tokens", "audit"]
)
def test_another_tenants_path_is_refused_alike_whether_that_tenant_exists_or_not(harness: Harness, path: str) -> None:
    admin = Admin(harness)
    nobody = "00000000-0000-4000-8000-000000000000"
    harness.client.put(f"/api/v1/sysadmin/tenants/{OTHER_TENANT}/credentials/openai", json={"api_key": "sk-9123456789"})
    known, unknown = (admin.send("GET", f"/api/v1/tenants/{tenant}/{path}") for tenant in (OTHER_TENANT, nobody))
    for answer in (known, unknown):
        assert (answer.status_code, answer.json()["code"]) == (403, "outside-scope")
    assert known.json()["detail"] == unknown.json()["detail"]
    assert OTHER_TENANT not in known.text


def test_the_operators_rules_apply_to_the_tenants_own_routes(harness: Harness) -> None:
    admin, body = Admin(harness), {"api_key": "sk-0123456789"}
    operator = f"/api/v1/sysadmin/tenants/{TENANT}"
    assert harness.client.put(f"{operator}/policy", json={"providers": ["mistral"]}).status_code == 200
    refused = admin.send("PUT", f"{OWN}/credentials/openai", json=body)
    assert (refused.status_code, refused.json()["code"]) == (403, "outside-policy")
    assert harness.client.put(f"{operator}/policy", json={"key_check": True}).status_code == 200
    harness.key_checks.error = ProviderUnavailableError("openai", "not-reachable")
    assert admin.send("PUT", f"{OWN}/credentials/openai", json=body).json()["code"] == "provider-unavailable"
    harness.key_checks.error = None
    assert admin.send("PUT", f"{OWN}/credentials/openai", json=body).status_code == 200
    assert harness.client.post(f"{operator}/freeze").status_code == 200
    for method, more in (("PUT", {"json": body}), ("DELETE", {})):
        assert admin.send(method, f"{OWN}/credentials/openai", **more).status_code == 423
    assert admin.send("GET", f"{OWN}/credentials").status_code == 200


def test_a_request_id_that_holds_the_stored_key_is_kept_out_on_the_tenants_own_path(harness: Harness) -> None:
    admin, key = Admin(harness), "abcdefgh-plain-key-0123456789"
    admin.send("PUT", f"{OWN}/credentials/openai", json={"api_key": key})
    answer = admin.send("DELETE", f"{OWN}/credentials/openai", {"X-Request-ID": key, "If-Match": '"v9"'})
    assert answer.status_code == 412
    assert key not in answer.headers["X-Request-ID"]


def test_the_routes_are_off_with_the_feature_and_want_a_reason_where_changes_do(switched_off: Harness) -> None:
    answer = switched_off.client.get(f"{OWN}/credentials")
    assert (answer.status_code, answer.json()["code"]) == (404, "feature_disabled")
    strict = Harness(reason_required=True)
    refused = strict.client.put(f"{OWN}/credentials/openai", json={"api_key": "sk-0123456789"})
    assert refused.json()["code"] == "reason-required"
