"""`keyledger audit usage`: a table for people, the service's answer for programs."""

import json

import pytest

from scripts.terminal.exits import Exit
from tests.scripts.commands.test_credentials import ADMIN, TENANT, env, service

__all__ = ["env", "service"]

RECORD = {
    "hour": "2026-01-31T12:00:00Z",
    "tenant_id": TENANT,
    "provider": "openai",
    "version": 3,
    "calls": 120,
    "failures": 2,
    "last_used_at": "2026-01-31T12:59:31Z",
}
NEXT = f"491628.{TENANT}.openai.3"


@pytest.fixture(autouse=True)
def answering(service):
    service.document = {"usage": [RECORD], "next": None}


def test_records_are_a_table(cli, service, env):
    ended = cli("audit", "usage", env=env)
    assert (ended.code, ended.err) == (Exit.OK, "")
    for text in ("calls", "failures", "last used", "2026-01-31T12:00:00Z", TENANT, "openai", "3", "120", "2"):
        assert text in ended.out
    method, path, headers, _ = service.arrived[0]
    assert (method, path, headers["X-API-Key"]) == ("GET", "/api/v1/audit/usage?limit=100", ADMIN)


def test_filters_become_the_query(cli, service, env):
    times = ("--since", "2026-01-31T12:00:00+01:00", "--until", "2026-02-01T00:00:00Z")
    cli("audit", "usage", "--tenant", TENANT, "--provider", "openai", *times, "--after", NEXT, "--limit", "7", env=env)
    assert service.arrived[0][1] == (
        f"/api/v1/audit/usage?tenant_id={TENANT}&provider=openai&since=2026-01-31T12%3A00%3A00%2B01%3A00"
        f"&until=2026-02-01T00%3A00%3A00Z&after={NEXT}&limit=7"
    )


def test_json_is_the_answer_of_the_service(cli, service, env):
    assert json.loads(cli("audit", "usage", "--json", env=env).out) == service.document


def test_a_page_that_is_not_the_last_says_how_to_go_on(cli, service, env):
    service.document = {"usage": [RECORD], "next": NEXT}
    assert f"--after {NEXT}" in cli("audit", "usage", env=env).err


def test_nothing_used_is_talk_and_no_data(cli, service, env):
    service.document = {"usage": [], "next": None}
    ended = cli("audit", "usage", env=env)
    assert (ended.code, ended.out, ended.err) == (Exit.OK, "", "no credential was used\n")


@pytest.mark.parametrize("limit", ["0", "1001", "x"])
def test_a_limit_that_cannot_be_sends_nothing(cli, service, env, limit):
    assert cli("audit", "usage", "--limit", limit, env=env).code == Exit.USAGE
    assert service.arrived == []
