"""`privacy erase|report` on a database that a service serves, and everything a reader has afterwards."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from keyledger.encryption.keyring import Keyring
from keyledger.proofs.signing_keys import LogSigner, generate_signing_key
from scripts.terminal.exits import Exit
from tests.scripts.conftest import Cli
from tests.support.canary import dump, leaks
from tests.support.service import ADMIN_KEY, Client, client_of, environment, served
from tests.support.store import ENCRYPTION_KEY, LEDGER_ID

TENANT, NAME, REASON = "7c9e6679-7425-40de-944b-e07fc1f90ae7", "super", "a very personal ticket"
SIGNING_KEY = generate_signing_key("privacy.test")
VKEY = LogSigner(SIGNING_KEY).of_ledger(LEDGER_ID).vkey


@pytest.fixture
def env(database_url: str, bare_environment: Path) -> dict[str, str]:
    more = {"DATABASE_URL": database_url, "DATA_DIR": str(bare_environment / "data")}
    return environment(AUDIT_SIGNING_KEY=SIGNING_KEY.reveal(), **more)


@pytest.fixture
def client(database_url: str, env: dict[str, str]) -> Iterator[Client]:
    with ExitStack() as stack:
        client = stack.enter_context(client_of(stack.enter_context(served(database_url, env))))
        client.http.headers["X-Audit-Reason"] = REASON
        assert client.put(TENANT, "openai", api_key="sk-live-0123456789").status_code == 200
        yield client


def entries(client: Client) -> list[dict[str, object]]:
    found: list[dict[str, object]] = client.http.get("/api/v1/audit/entries").json()["entries"]
    return found


def test_an_actor_is_gone_from_the_interface_the_exports_the_commands_and_the_bundles(
    cli: Cli, client: Client, env: dict[str, str], database_url: str
) -> None:
    reader = env | {"KEYLEDGER_URL": str(client.http.base_url), "KEYLEDGER_API_KEY": ADMIN_KEY}
    assert REASON in client.http.get("/api/v1/audit/export?format=jsonl").text
    reported = json.loads(cli("privacy", "report", "--actor", NAME, "--json", env=env).out)
    assert reported["entries"][0]["reason"] == REASON
    erased = cli("privacy", "erase", "--actor", NAME, "--reason", "asked for it", "--yes", "--json", env=env)
    assert erased.code == Exit.OK, erased.err
    told = json.loads(erased.out)
    assert (told["kind"], told["credentials"]) == ("actor", 0)
    client.http.headers.pop("X-Audit-Reason")
    (first,) = [entry for entry in entries(client) if entry["action"] == "set"]
    assert (first["actor"], first["reason"], first["client_address"]) == (None, None, None)
    assert set(first["erased"]) == {"actor", "client_address", "reason"}  # type: ignore[call-overload]
    (record,) = [entry for entry in entries(client) if entry["action"] == "person-erased"]
    assert record["reason"] == "asked for it"
    assert record["details"]["person"] == told["person"]  # type: ignore[index]
    for form in ("csv", "jsonl", "ocsf", "cloudevents"):
        text = client.http.get(f"/api/v1/audit/export?format={form}").text
        assert REASON not in text
        assert "client_address" in text
    assert cli("history", TENANT, env=reader).out.count("by (erased) (api)") == 1
    assert "(erased)" in cli("audit", "search", "action:set", env=reader).out
    assert "erased" in cli("audit", "show", str(first["position"]), env=reader).out
    assert cli("audit", "bundle", "--output", "evidence", env=reader).code == Exit.OK
    verdict = cli("audit", "verify", "evidence", "--public-key", VKEY)
    assert verdict.code == Exit.OK, verdict.out
    assert "recorded, but not disclosed: erased since, or left out." in verdict.out
    assert REASON not in "".join(
        file.read_bytes().decode("latin-1") for file in Path("evidence").rglob("*") if file.is_file()
    )
    assert leaks(dump(database_url), [REASON]) == set()
    assert cli("verify", env=env).code == Exit.OK


def test_a_tenant_is_erased_with_its_credentials(cli: Cli, client: Client, env: dict[str, str]) -> None:
    erased = cli("privacy", "erase", "--tenant", TENANT, "--reason", "contract ended", "--yes", env=env)
    assert erased.code == Exit.OK, erased.err
    assert "1 credentials deleted" in erased.err
    assert f"still holds API keys of this tenant, sealed under {Keyring(ENCRYPTION_KEY).primary_id} (1)" in erased.err
    assert client.http.get(f"/api/v1/sysadmin/tenants/{TENANT}/credentials").json() == {"credentials": []}
    mine = [entry for entry in entries(client) if entry["tenant_id"] == TENANT]
    assert [(entry["action"], entry["actor"], entry["fingerprint"]) for entry in mine] == [
        ("set", None, None),
        ("deleted", None, None),
    ]


REFUSED = {
    "neither an actor nor a tenant": ((), Exit.USAGE, "give one of --actor, --tenant and --address"),
    "both": (("--actor", NAME, "--tenant", TENANT), Exit.USAGE, "give one of --actor, --tenant and --address"),
    "no UUID": (("--tenant", "acme"), Exit.USAGE, "must be a UUID"),
    "an actor who was never seen": (("--actor", "stranger", "--yes"), Exit.REFUSED, "nothing personal is kept"),
    "no terminal to confirm on": (("--actor", NAME), Exit.USAGE, "pass --yes"),
}


@pytest.mark.parametrize(("words", "code", "said"), REFUSED.values(), ids=list(REFUSED))
def test_it_is_refused_with(
    cli: Cli, client: Client, env: dict[str, str], words: tuple[str, ...], code: Exit, said: str
) -> None:
    ended = cli("privacy", "erase", "--reason", "asked for it", *words, env=env)
    assert (ended.code, ended.out) == (code, "")
    assert said in ended.err
    assert "person-erased" not in {entry["action"] for entry in entries(client)}
