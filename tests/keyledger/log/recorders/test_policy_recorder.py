"""A change of the policy is in the audit trail from the start of the service on, once."""

from typing import Any

from tests.support.service import client_of, environment, served


def changes(database_url: str, **settings: str) -> list[dict[str, Any]]:
    """Start a service and return the changes of policy that it shows."""
    with served(database_url, environment(**settings)) as url, client_of(url) as client:
        entries = client.http.get("/api/v1/audit/entries", params={"action": "policy-changed"}).json()["entries"]
    assert isinstance(entries, list)
    return entries


def test_a_policy_is_recorded_when_it_differs_from_the_last_and_not_at_every_start(database_url: str) -> None:
    (first,) = changes(database_url)
    assert first["details"] == {"tenant_credentials": "on", "global_fallback": "allow"}
    assert (first["actor"], first["source"], first["outcome"]) == ("service", "service", "success")
    assert changes(database_url) == [first]
    shown = changes(database_url, GLOBAL_FALLBACK="deny")
    assert [one["details"]["global_fallback"] for one in shown] == ["allow", "deny"]
    assert len(changes(database_url)) == 3


def test_what_needs_a_second_person_is_recorded_when_it_changes_and_when_it_ends(database_url: str) -> None:
    def changed(**settings: str) -> list[str | None]:
        with served(database_url, environment(**settings)) as url, client_of(url) as client:
            found = client.http.get("/api/v1/audit/entries", params={"action": "approvals-changed"}).json()["entries"]
        return [one["details"].get("commands") for one in found]

    assert changed() == []
    assert changed(APPROVALS="thaw, delete") == ["delete thaw"]
    assert changed(APPROVALS="delete,thaw") == ["delete thaw"]
    assert changed() == ["delete thaw", None]
