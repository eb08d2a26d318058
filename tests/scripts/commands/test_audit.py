"""`audit search`, `audit show` and `history` against a real service on a real database."""

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from uuid import uuid4

import pytest

from scripts.commands import audit
from scripts.terminal.exits import Exit
from tests.scripts.conftest import Ask, Cli, Ended, asking
from tests.support.postgres import TemplatedServer
from tests.support.service import ADMIN_KEY, Client, client_of, environment, served
from tests.support.store import open_store

TENANT, OTHER = str(uuid4()), str(uuid4())


@pytest.fixture
def client(database_url: str) -> Iterator[Client]:
    with ExitStack() as stack:
        yield stack.enter_context(client_of(stack.enter_context(served(database_url, environment()))))


@pytest.fixture
def filled(client: Client) -> Client:
    return fill(client)


@pytest.fixture(scope="module")
def unchanged(postgres_server: TemplatedServer) -> Iterator[Client]:
    """A filled service for all tests that only read."""
    with postgres_server.fresh_database() as database_url, ExitStack() as stack:
        yield fill(stack.enter_context(client_of(stack.enter_context(served(database_url, environment())))))


@pytest.fixture
def look(cli: Cli, unchanged: Client) -> Ask:
    """Run a command that only reads."""
    return asking(cli, unchanged)


def fill(client: Client) -> Client:
    """A tenant's Azure credential was set, moved, left alone and deleted; another tenant has one too."""
    azure = {"endpoint": "https://one.example.com", "api_version": "2025-01-01", "deployment_name": "gpt"}
    client.http.headers["X-Audit-Reason"] = "ticket 4711"
    assert client.put(TENANT, "azure", api_key="sk-the-first-aaaa", **azure).status_code == 200
    del client.http.headers["X-Audit-Reason"]
    moved = {**azure, "endpoint": "https://two.example.com"}
    assert client.put(TENANT, "azure", api_key="sk-the-first-aaaa", **moved).status_code == 200
    assert client.put(TENANT, "azure", api_key="sk-the-second-bbbb", **moved).status_code == 200
    assert client.delete(TENANT, "azure").status_code == 200
    assert client.put(OTHER, "openai", api_key="sk-of-another-cccc").status_code == 200
    return client


def entries(ended: Ended) -> list[dict[str, object]]:
    assert ended.code == Exit.OK, ended.err
    found = json.loads(ended.out)["entries"]
    assert isinstance(found, list)
    return found


class TestSearch:
    def test_entries_are_a_table_with_the_newest_first(self, look: Ask) -> None:
        ended = look("audit", "search", f"tenant:{TENANT}")
        assert (ended.code, ended.err) == (Exit.OK, "")
        assert re.match(r"\s*position +time \(UTC\) +action +outcome +tenant", ended.out)
        actions = re.findall(r"^ *\d+ .*? (set|replaced|deleted) ", ended.out, re.MULTILINE)
        assert actions == ["deleted", "replaced", "replaced", "set"]
        assert "...bbbb" in ended.out and "ticket 4711" in ended.out and OTHER not in ended.out
        assert "sk-the" not in ended.out

    @pytest.mark.parametrize(
        ("words", "actions"),
        [
            (("action:deleted",), ["deleted"]),
            ((f"tenant:{OTHER}",), ["set"]),
            ((f"tenant:{TENANT}", "provider:azure", "action:replaced"), ["replaced", "replaced"]),
            (("since:1h", '"ticket 4711"'), ["set"]),
            (("two.example.com", "action:replaced"), ["replaced", "replaced"]),
            (("actor:super", "action:set", "outcome:success"), ["set", "set"]),
            (("until:2020-01-01",), []),
        ],
    )
    def test_terms_narrow_it(self, look: Ask, words: tuple[str, ...], actions: list[str]) -> None:
        assert [entry["action"] for entry in entries(look("audit", "search", "--json", *words))] == actions

    def test_json_is_what_the_service_gives(self, look: Ask, unchanged: Client) -> None:
        query = f"tenant:{TENANT}"
        given = unchanged.http.get("/api/v1/audit/entries", params={"q": query, "order": "oldest"}).json()["entries"]
        assert entries(look("audit", "search", "--oldest", "--json", query)) == given

    def test_a_limit_takes_the_newest(self, look: Ask) -> None:
        found = entries(look("audit", "search", "--limit", "2", "--json", f"tenant:{TENANT}"))
        assert [entry["action"] for entry in found] == ["deleted", "replaced"]

    def test_a_refused_request_shows_its_answer_and_how_often(self, ask: Ask, filled: Client) -> None:
        for _ in range(3):
            filled.http.get("/api/v1/audit/entries", headers={"X-API-Key": "sk-not-a-key-of-the-service"})
        ended = ask("audit", "search", "action:request-refused")
        assert re.search(r"request-refused 401 unauthenticated( x 3)? +denied", ended.out), ended.out
        assert "sk-not-a-key" not in ended.out

    def test_nothing_found_is_talk_and_no_data(self, look: Ask) -> None:
        ended = look("audit", "search", "action:key-retired")
        assert (ended.code, ended.out, ended.err) == (Exit.OK, "", "no entries match\n")
        assert entries(look("audit", "search", "action:key-retired", "--json")) == []

    def test_reading_is_recorded_as_done_on_the_command_line(self, ask: Ask, filled: Client) -> None:
        ask("audit", "search", "action:deleted")
        (found,) = entries(ask("audit", "search", "action:audit-read", "--json"))
        assert found["details"] == {"view": "entries", "query": "action:deleted", "count": 1}
        assert (found["actor"], found["source"]) == ("super", "cli")

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (("acton:deleted",), "acton: is not a name; use tenant, provider, action"),
            (("action:delete",), "action: must be one of set, replaced, deleted"),
            (("tenant:acme",), "tenant: must be a UUID in lower case"),
            (("since:yesterday",), "since: must be a time such as"),
            (('"half',), "quotation that does not end"),
            (("tenant:",), "name without a value"),
        ],
    )
    def test_a_term_that_cannot_be_understood_is_named(self, look: Ask, words: tuple[str, ...], said: str) -> None:
        ended = look("audit", "search", *words)
        assert (ended.code, ended.out) == (Exit.REFUSED, "")
        assert said in ended.err

    def test_pages_are_followed_beyond_500_in_both_orders(
        self, ask: Ask, client: Client, database_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with open_store(database_url) as store:
            for number in range(audit.PAGE + 7):
                store.set(TENANT, "openai", f"sk-live-{number:010}")
        oldest = entries(ask("audit", "search", "--oldest", "--json", "--limit", "600", f"tenant:{TENANT}"))
        assert [entry["version"] for entry in oldest] == list(range(1, audit.PAGE + 8))
        newest = entries(ask("audit", "search", "--json", "--limit", "503", f"tenant:{TENANT}"))
        assert newest == oldest[::-1][:503]
        whole = ask("history", TENANT, "--json")
        assert entries(whole) == oldest

    def test_a_service_that_is_not_there_is_told(self, cli: Cli) -> None:
        env = {"KEYLEDGER_URL": "http://127.0.0.1:1", "KEYLEDGER_API_KEY": ADMIN_KEY}
        ended = cli("audit", "search", env=env)
        assert (ended.code, ended.out) == (Exit.UNREACHABLE, "")

    def test_a_key_that_is_none_is_refused(self, cli: Cli, unchanged: Client) -> None:
        env = {"KEYLEDGER_URL": str(unchanged.http.base_url), "KEYLEDGER_API_KEY": "sk-not-a-key-of-the-service"}
        ended = cli("audit", "search", env=env)
        assert (ended.code, ended.out) == (Exit.REFUSED, "")
        assert "sk-not-a-key" not in ended.err


class TestShow:
    def test_everything_about_an_entry_is_shown_and_what_does_not_apply_is_left_out(self, look: Ask) -> None:
        first = entries(look("audit", "search", "--oldest", "--json", f"tenant:{TENANT}"))[0]
        ended = look("audit", "show", str(first["position"]))
        assert ended.code == Exit.OK
        shown = dict(re.findall(r"^ *(\S+) {2,}(.*?) *$", ended.out, re.MULTILINE))
        for name in ("action", "actor", "role", "source", "fingerprint", "key_id", "request_id", "command_id"):
            assert shown[name] == str(first[name])
        assert shown["reason"] == "ticket 4711"
        assert shown["endpoint"] == "https://one.example.com"
        deleted = entries(look("audit", "search", "--json", "action:deleted"))[0]
        assert "masked_key" not in look("audit", "show", str(deleted["position"])).out

    def test_json_is_what_the_service_gives(self, look: Ask) -> None:
        (first,) = entries(look("audit", "search", "--json", "action:deleted"))
        assert json.loads(look("audit", "show", str(first["position"]), "--json").out) == first

    @pytest.mark.parametrize(
        ("position", "code", "said"),
        [
            ("100000", Exit.REFUSED, "100000"),
            ("99999999999999999999999", Exit.REFUSED, "position"),
            ("0", Exit.USAGE, "POSITION"),
            ("x", Exit.USAGE, "POSITION"),
        ],
    )
    def test_a_position_that_is_not_there_is_told(self, look: Ask, position: str, code: Exit, said: str) -> None:
        ended = look("audit", "show", position)
        assert (ended.code, ended.out) == (code, "")
        assert said in ended.err


class TestHistory:
    def test_each_step_shows_what_it_changed_and_nothing_else(self, look: Ask) -> None:
        ended = look("history", TENANT)
        assert ended.code == Exit.OK
        provider, *lines = ended.out.splitlines()
        assert provider == "azure"
        heads = [line for line in lines if not line.startswith("      ")]
        assert [re.sub(r"^ +\S+ \S+ +", "", head) for head in heads] == [
            "v1  set by super (api): ticket 4711",
            "v2  replaced by super (api)",
            "v3  replaced by super (api)",
            "v4  deleted by super (api)",
        ]
        steps = ["".join(step) for step in re.split(r"(?m)^  \d.*$", ended.out)[1:]]
        first, moved, replaced, deleted = (re.findall(r"(?m)^      (.*?): (.*)$", step) for step in steps)
        assert [name for name, _ in first] == [
            "key",
            "fingerprint",
            "endpoint",
            "API version",
            "deployment",
            "sealed under",
        ]
        assert moved == [("endpoint", "https://one.example.com -> https://two.example.com")]
        assert [name for name, _ in replaced] == ["key", "fingerprint"]
        assert replaced[0][1] == "...aaaa -> ...bbbb"
        assert deleted == []
        assert "sk-" not in ended.out

    def test_one_provider_is_shown_alone(self, ask: Ask, filled: Client) -> None:
        filled.put(TENANT, "mistral", api_key="sk-of-mistral-dddd")
        assert [line for line in ask("history", TENANT).out.splitlines() if not line.startswith(" ")] == [
            "azure",
            "mistral",
        ]
        assert {entry["provider"] for entry in entries(ask("history", TENANT, "mistral", "--json"))} == {"mistral"}

    def test_what_is_set_again_after_a_deletion_begins_anew(self, ask: Ask, filled: Client) -> None:
        filled.delete(OTHER, "openai")
        filled.put(OTHER, "openai", api_key="sk-of-another-cccc")
        last = ask("history", OTHER, "openai").out.rpartition("v3  set by")[2]
        assert "key: ...cccc" in last
        assert "->" not in last

    def test_a_tenant_without_credentials_is_talk_and_no_data(self, look: Ask) -> None:
        ended = look("history", str(uuid4()))
        assert (ended.code, ended.out) == (Exit.OK, "")
        assert "have no history" in ended.err

    @pytest.mark.parametrize(("arguments", "said"), [(("acme",), "tenant"), ((TENANT, "opnai"), "provider")])
    def test_what_is_no_tenant_or_provider_is_told(self, look: Ask, arguments: tuple[str, ...], said: str) -> None:
        ended = look("history", *arguments)
        assert (ended.code, ended.out) == (Exit.REFUSED, "")
        assert said in ended.err
