"""The `credentials` commands against real HTTP: what is sent, what is shown, how each answer ends."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from scripts.terminal.exits import Exit

TENANT = "0a1b2c3d-0000-4000-8000-000000000001"
ADMIN = "admin-key-of-the-operator"
CANARY = "sk-canary-4f9d1e7ab2-never-shown"
LISTED = {
    "provider": "azure",
    "masked_key": "...xyz9",
    "encryption_status": "encrypted",
    "configured_at": "2026-11-23T12:00:00Z",
    "config": {"endpoint": "https://a.example.org/[bold]"},
    "version": 3,
    "key_id": "k0123456789",
    "state": "untested",
    "last_used_at": None,
}
SET = {
    "tenant_id": TENANT,
    "provider": "openai",
    "masked_key": "...hown",
    "message": "API credential for openai set successfully",
    "set_at": "2026-11-23T12:00:00Z",
    "version": 1,
}


@dataclass
class Service:
    """Answers every request with `status` and `document`; keeps what arrived."""

    url: str = ""
    status: int = 200
    document: object = field(default_factory=dict)
    arrived: list = field(default_factory=list)


@pytest.fixture
def service() -> Iterator[Service]:
    """A service that says what the test wants, on loopback."""
    told = Service()

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            told.arrived.append((self.command, self.path, dict(self.headers), body))
            content = told.document if isinstance(told.document, bytes) else json.dumps(told.document).encode()
            self.send_response(told.status)
            self.send_header("Content-Length", str(len(content)))
            if told.status == 307:
                self.send_header("Location", f"{told.url}/elsewhere")
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_PUT = do_DELETE = _answer  # noqa: N815  the library's names for them

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the library's name for it
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        told.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield told
        server.shutdown()
        thread.join()


@pytest.fixture
def env(service):
    return {"KEYLEDGER_URL": service.url, "KEYLEDGER_API_KEY": ADMIN}


class TestSet:
    def test_the_key_comes_from_stdin_and_goes_into_the_body_only(self, cli, service, env):
        service.document = SET
        ended = cli("credentials", "set", TENANT, "openai", "--stdin", stdin=f"{CANARY}\n", env=env)
        assert ended.code == Exit.OK, ended.err
        method, path, headers, body = service.arrived[0]
        assert (method, path) == ("PUT", f"/api/v1/sysadmin/tenants/{TENANT}/credentials/openai")
        assert headers["X-API-Key"] == ADMIN
        assert json.loads(body) == {"api_key": CANARY}
        assert "...hown" in ended.out
        assert CANARY not in ended.out + ended.err + path + str(headers)

    def test_the_key_comes_from_a_file(self, cli, service, env, bare_environment):
        service.document = SET
        (bare_environment / "key").write_text(f"{CANARY}\n")
        arguments = ("--endpoint", "https://a.example.org", "--api-version", "v1", "--deployment-name", "d")
        ended = cli("credentials", "set", TENANT, "azure", "@key", *arguments, "--if-match", "3", env=env)
        assert ended.code == Exit.OK, ended.err
        _, _, headers, body = service.arrived[0]
        assert headers["If-Match"] == '"v3"'
        assert json.loads(body) == {
            "api_key": CANARY,
            "endpoint": "https://a.example.org",
            "api_version": "v1",
            "deployment_name": "d",
        }

    def test_json_is_the_answer_of_the_service(self, cli, service, env):
        service.document = SET
        ended = cli("credentials", "set", TENANT, "openai", "--stdin", "--json", stdin=CANARY, env=env)
        assert json.loads(ended.out) == SET

    @pytest.mark.parametrize("more", [(), ("--json",)], ids=["for a person", "as JSON"])
    def test_a_warning_of_the_service_is_told_beside_the_answer(self, cli, service, env, more):
        service.document = {**SET, "warnings": ["api_key: ends in three dots"]}
        ended = cli("credentials", "set", TENANT, "openai", "--stdin", *more, stdin=CANARY, env=env)
        assert ended.code == Exit.OK
        assert "warning: api_key: ends in three dots\n" in ended.err
        assert "warning:" not in ended.out

    @pytest.mark.parametrize(
        "arguments",
        [
            pytest.param((CANARY,), id="as an argument"),
            pytest.param(("@key", CANARY), id="as one argument more"),
            pytest.param(("--stdin", CANARY), id="as an argument alongside stdin"),
            pytest.param((f"--api-key={CANARY}",), id="as an option"),
            pytest.param(("--api-key", CANARY), id="as an option with a space"),
        ],
    )
    def test_a_key_among_the_arguments_is_refused_and_not_repeated(self, cli, service, env, arguments):
        ended = cli("credentials", "set", TENANT, "openai", *arguments, stdin=CANARY, env=env)
        assert (ended.code, ended.out) == (Exit.USAGE, "")
        assert CANARY not in ended.err
        assert service.arrived == []

    @pytest.mark.parametrize(
        ("arguments", "stdin"),
        [
            pytest.param((), CANARY, id="no terminal to ask on"),
            pytest.param(("--stdin",), " \n", id="nothing on stdin"),
            pytest.param(("@absent",), "", id="a file that is not there"),
            pytest.param(("@key", "--stdin"), CANARY, id="two sources"),
        ],
    )
    def test_without_a_key_nothing_is_sent(self, cli, service, env, arguments, stdin):
        assert cli("credentials", "set", TENANT, "openai", *arguments, stdin=stdin, env=env).code == Exit.USAGE
        assert service.arrived == []


class TestRead:
    def test_a_list_is_a_table_with_masked_keys(self, cli, service, env):
        service.document = {"credentials": [LISTED]}
        ended = cli("credentials", "list", TENANT, env=env)
        assert ended.code == Exit.OK
        for text in ("azure", "...xyz9", "encrypted", "k0123456789", "endpoint=https://a.example.org/[bold]"):
            assert text in ended.out

    def test_a_tenant_without_credentials_is_talk_and_no_data(self, cli, service, env):
        service.document = {"credentials": []}
        ended = cli("credentials", "list", TENANT, env=env)
        assert (ended.code, ended.out) == (Exit.OK, "")
        assert json.loads(cli("credentials", "list", TENANT, "--json", env=env).out) == {"credentials": []}

    def test_one_credential_is_shown(self, cli, service, env):
        service.document = LISTED
        assert "...xyz9" in cli("credentials", "show", TENANT, "azure", env=env).out
        assert json.loads(cli("credentials", "show", TENANT, "azure", "--json", env=env).out) == LISTED

    def test_what_is_typed_as_a_name_cannot_change_the_path(self, cli, service, env):
        service.document = LISTED
        cli("credentials", "show", "../x", "a/b?c#d", env=env)
        assert service.arrived[0][1] == "/api/v1/sysadmin/tenants/..%2Fx/credentials/a%2Fb%3Fc%23d"


class TestDelete:
    def test_it_is_not_done_without_yes_where_nobody_can_be_asked(self, cli, service, env):
        assert cli("credentials", "delete", TENANT, "openai", env=env).code == Exit.USAGE
        assert service.arrived == []

    def test_it_is_done_with_yes(self, cli, service, env):
        service.document = {"tenant_id": TENANT, "provider": "openai", "message": "deleted successfully"}
        ended = cli("credentials", "delete", TENANT, "openai", "--yes", "--if-match", "2", env=env)
        assert ended.code == Exit.OK
        assert "deleted successfully" in ended.err
        assert service.arrived[0][0] == "DELETE"
        assert service.arrived[0][2]["If-Match"] == '"v2"'


ENDINGS = [
    pytest.param(401, "unauthenticated", Exit.REFUSED, id="a key that is not let in"),
    pytest.param(404, "credential-not-found", Exit.REFUSED, id="nothing there"),
    pytest.param(422, "invalid-credential", Exit.REFUSED, id="a field that breaks a rule"),
    pytest.param(409, "version-conflict", Exit.CONFLICT, id="someone was faster"),
    pytest.param(412, "version-conflict", Exit.CONFLICT, id="another version than stated"),
    pytest.param(503, "store-unavailable", Exit.UNREACHABLE, id="a database that is away"),
    pytest.param(500, "internal", Exit.REFUSED, id="a fault of the service"),
]


class TestAnswers:
    @pytest.mark.parametrize(("status", "code", "expected"), ENDINGS)
    def test_every_answer_has_its_exit_code(self, cli, service, env, status, code, expected):
        service.status = status
        service.document = {
            "title": "The title",
            "code": code,
            "detail": "The detail.",
            "errors": [{"pointer": "/api_key", "field": "api_key", "detail": "must be longer"}],
        }
        ended = cli("credentials", "show", TENANT, "openai", "--json", env=env)
        assert (ended.code, ended.out) == (expected, "")
        for text in ("The title", code, "The detail.", "api_key: must be longer"):
            assert text in ended.err

    def test_a_fault_that_is_the_whole_detail_is_told_once(self, cli, service, env):
        service.status = 422
        service.document = {
            "title": "Invalid credential",
            "code": "invalid-credential",
            "detail": "api_key: is empty",
            "errors": [{"pointer": "/api_key", "field": "api_key", "detail": "is empty"}],
        }
        assert cli("credentials", "show", TENANT, "openai", env=env).err.count("api_key: is empty") == 1

    @pytest.mark.parametrize(
        ("status", "document"),
        [
            pytest.param(200, b"<html>", id="a page"),
            pytest.param(404, {"error": "no"}, id="another service"),
            pytest.param(200, [1], id="a list"),
            pytest.param(307, {}, id="a redirect"),
        ],
    )
    def test_what_is_not_the_service_is_unreachable(self, cli, service, env, status, document):
        service.status, service.document = status, document
        assert cli("credentials", "list", TENANT, env=env).code == Exit.UNREACHABLE
        assert len(service.arrived) == 1, "a redirect is not followed: it would carry the key along"

    def test_nobody_there_is_unreachable(self, cli):
        ended = cli("credentials", "list", TENANT, "--url", "http://127.0.0.1:9", env={"SUPER_API_KEY": ADMIN})
        assert ended.code == Exit.UNREACHABLE
        assert ADMIN not in ended.err

    def test_a_proxy_of_the_environment_never_sees_the_admin_key(self, cli, service, env):
        service.document = LISTED
        proxied = env | {"HTTP_PROXY": "http://127.0.0.1:9", "ALL_PROXY": "http://127.0.0.1:9"}
        assert cli("credentials", "show", TENANT, "azure", env=proxied).code == Exit.OK

    @pytest.mark.parametrize(
        "url", ["ftp://x", "127.0.0.1:8000", "http://user:pw@127.0.0.1", "http://[::1", "http://x?y", "http://x:99999"]
    )
    def test_an_address_that_is_none_is_wrong_usage(self, cli, url):
        assert cli("credentials", "list", TENANT, "--url", url, env={"SUPER_API_KEY": ADMIN}).code == Exit.USAGE


class TestAdminKey:
    def test_it_can_come_from_a_file_which_wins(self, cli, service, env, bare_environment):
        service.document = LISTED
        (bare_environment / "admin").write_text("key-of-the-file\n")
        cli("credentials", "show", TENANT, "azure", "--api-key-file", "admin", env=env)
        assert service.arrived[0][2]["X-API-Key"] == "key-of-the-file"

    def test_it_can_come_from_dotenv_like_that_of_the_service(self, cli, service, bare_environment):
        service.document = LISTED
        (bare_environment / ".env").write_text("SUPER_API_KEY=key-of-dotenv\n")
        cli("credentials", "show", TENANT, "azure", "--url", service.url)
        assert service.arrived[0][2]["X-API-Key"] == "key-of-dotenv"

    def test_without_one_nothing_is_sent(self, cli, service):
        assert cli("credentials", "show", TENANT, "azure", "--url", service.url).code == Exit.USAGE
        assert service.arrived == []

    def test_one_that_no_header_can_hold_is_refused(self, cli, service, env):
        assert cli("credentials", "list", TENANT, env=env | {"KEYLEDGER_API_KEY": "nyckel-åäö"}).code == Exit.USAGE


@pytest.mark.parametrize("command", [("set", "--stdin"), ("delete", "--yes")], ids=["set", "delete"])
def test_a_reason_in_any_language_is_sent_along(cli, service, env, command):
    service.document = SET
    verb, flag = command
    ended = cli(
        "credentials", verb, TENANT, "openai", flag, "--reason", "Schlüssel verloren, 4711", env=env, stdin=CANARY
    )
    assert ended.code == Exit.OK, ended.err
    _, _, headers, _ = service.arrived[0]
    assert headers["X-Audit-Reason"].encode("latin-1").decode() == "Schlüssel verloren, 4711"


@pytest.mark.parametrize("reason", ["", " ", "two\nlines"])
def test_a_reason_that_is_no_line_of_text_sends_nothing(cli, service, env, reason):
    ended = cli("credentials", "delete", TENANT, "openai", "--yes", "--reason", reason, env=env)
    assert (ended.code, service.arrived) == (Exit.USAGE, [])
    assert "--reason" in ended.err
