"""`tenants list` and `credentials find`: a table for people, every page in one document for programs."""

import json

import pytest

from scripts.terminal.exits import Exit
from tests.scripts.commands.test_credentials import ADMIN, LISTED, TENANT, env, service

__all__ = ["env", "service"]

FOUND = {"tenant_id": TENANT, **LISTED, "last_used_at": "2026-11-24T12:00:00Z"}
COUNTED = {
    "tenant_id": TENANT,
    "name": "Acme",
    "registered": True,
    "frozen": True,
    "credentials": 3,
    "states": {"in-order": 2, "untested": 1, "unreadable": 0},
    "last_change": "2026-11-23T12:00:00Z",
    "last_used_at": None,
}
COMMANDS = [
    pytest.param(("credentials", "find"), "credentials", FOUND, id="find"),
    pytest.param(("tenants", "list"), "tenants", COUNTED, id="tenants"),
]


@pytest.fixture
def pages(service, monkeypatch):
    """A service that answers with one page after the other."""

    def answer_with(*documents):
        asked_for = property(lambda told: documents[len(told.arrived) - 1])
        monkeypatch.setattr(type(service), "document", asked_for, raising=False)

    return answer_with


@pytest.mark.parametrize(("command", "member", "item"), COMMANDS)
def test_all_pages_are_asked_for_and_are_one_document(cli, service, env, pages, command, member, item):
    pages({member: [item], "next": "one.two"}, {member: [], "next": "three"}, {member: [item], "next": None})
    ended = cli(*command, "--json", env=env)
    assert (ended.code, json.loads(ended.out)) == (Exit.OK, {member: [item, item], "next": None})
    path = f"/api/v1/sysadmin/{member}?"
    assert [arrived[:2] for arrived in service.arrived] == [
        ("GET", f"{path}limit=1000"),
        ("GET", f"{path}after=one.two&limit=1000"),
        ("GET", f"{path}after=three&limit=1000"),
    ]
    assert service.arrived[0][2]["X-API-Key"] == ADMIN


@pytest.mark.parametrize(("command", "member", "item"), COMMANDS)
def test_what_is_found_fits_a_terminal_unless_it_is_to_be_wide(cli, service, env, monkeypatch, command, member, item):
    monkeypatch.setattr("scripts.terminal.output._width", lambda: 80)
    service.document = {member: [item], "next": None}
    narrow, wide = cli(*command, env=env).out, cli(*command, "--wide", env=env).out
    assert max(map(len, narrow.splitlines())) <= 80
    assert max(map(len, wide.splitlines())) > 80
    assert TENANT in narrow


def test_conditions_become_the_query(cli, service, env):
    service.document = {"credentials": [], "next": None}
    given = {
        "tenant": TENANT,
        "provider": "openai",
        "state": "untested",
        "key-id": "k0123456789",
        "set-before": "2026-01-31T12:00:00+01:00",
        "used-before": "2026-02-01T00:00:00Z",
    }
    ended = cli("credentials", "find", *(part for name in given for part in (f"--{name}", given[name])), env=env)
    assert (ended.code, ended.out, ended.err) == (Exit.OK, "", "no credentials match\n")
    assert service.arrived[0][1] == (
        f"/api/v1/sysadmin/credentials?tenant_id={TENANT}&provider=openai&state=untested&key_id=k0123456789"
        "&set_before=2026-01-31T12%3A00%3A00%2B01%3A00&used_before=2026-02-01T00%3A00%3A00Z&limit=1000"
    )


def test_what_is_found_is_a_table(cli, service, env):
    service.document = {"credentials": [FOUND], "next": None}
    ended = cli("credentials", "find", env=env)
    for text in (TENANT, "azure", "...xyz9", "untested", "k0123456789", "2026-11-23T12:00:00Z", "2026-11-24T12:00:00Z"):
        assert text in ended.out


def test_tenants_are_a_table_without_states_that_none_is_in(cli, service, env):
    service.document = {"tenants": [COUNTED], "next": None}
    ended = cli("tenants", "list", env=env)
    for text in (TENANT, "3", "2 in-order, 1 untested", "2026-11-23T12:00:00Z"):
        assert text in ended.out
    assert "unreadable" not in ended.out and "None" not in ended.out


def test_no_tenant_is_talk_and_no_data(cli, service, env):
    service.document = {"tenants": [], "next": None}
    ended = cli("tenants", "list", env=env)
    assert (ended.code, ended.out, ended.err) == (Exit.OK, "", "no tenant is registered, or has or had a credential\n")


def test_a_refusal_ends_it_without_data(cli, service, env):
    service.status, service.document = 500, {"code": "internal", "title": "Internal error", "detail": "Broken."}
    ended = cli("credentials", "find", "--json", env=env)
    assert (ended.code, ended.out) == (Exit.REFUSED, "")
