"""A reload over REST: what it answers, and to whom."""

from tests.api.conftest import Harness


def test_it_tells_what_is_in_force_and_what_needs_a_restart() -> None:
    answer = Harness().client.post("/api/v1/reload")
    assert (answer.status_code, answer.json()) == (
        200,
        {"changed": ["OPENAI_API_KEY"], "needs_restart": ["DATABASE_URL"], "warnings": []},
    )


def test_it_is_possible_without_the_feature_of_tenants_credentials() -> None:
    assert Harness(tenant_credentials=False).client.post("/api/v1/reload").status_code == 200


def test_a_refusal_names_every_fault() -> None:
    answer = Harness(reload_errors=("LOG_LEVEL: must be one of: info", "API_KEYS: entry 1")).client.post(
        "/api/v1/reload"
    )
    assert (answer.status_code, answer.json()["code"]) == (409, "reload-refused")
    assert "LOG_LEVEL: must be one of: info; API_KEYS: entry 1" in answer.json()["detail"]


def test_options_are_refused_because_there_are_none() -> None:
    assert Harness().client.post("/api/v1/reload", json={"force": True}).status_code == 422
