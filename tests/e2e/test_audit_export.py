"""Exports of the audit of a whole service: no secret in any encoding, and the same from the command line."""

import base64
import json
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from http import HTTPStatus
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from domain.audit.formats import ExportFormat
from keyledger.proofs.signing_keys import LogSigner, generate_signing_key
from scripts.terminal.exits import Exit
from tests.scripts.conftest import Cli, bare_environment, cli
from tests.support.canary import leaks
from tests.support.postgres import TemplatedServer
from tests.support.service import ADMIN_KEY, Client, client_of, environment, served
from tests.support.store import ENCRYPTION_KEY, LEDGER_ID, OTHER_ENCRYPTION_KEY

__all__ = ["bare_environment", "cli"]

TENANTS = [str(uuid4()) for _ in range(100)]
CANARIES = {tenant: f"sk-CANARY{number:03d}{uuid4().hex}" for number, tenant in enumerate(TENANTS)}
EXPORT = "/api/v1/audit/export"
SIGNING_KEY = generate_signing_key("log.test")


def obeyed(change: Callable[[], httpx.Response]) -> httpx.Response:
    """Ask for a change, again for as long as the service has no time for it: then nothing has happened."""
    while (answer := change()).status_code == HTTPStatus.SERVICE_UNAVAILABLE:
        continue
    return answer


@pytest.fixture(scope="module")
def client(postgres_server: TemplatedServer) -> Iterator[Client]:
    """A service in which 100 tenants set, replaced, deleted and mistook their keys. What is read of it is recorded."""
    settings = environment(AUDIT_SIGNING_KEY=SIGNING_KEY.reveal())
    with ExitStack() as stack:
        database_url = stack.enter_context(postgres_server.fresh_database())
        client = stack.enter_context(client_of(stack.enter_context(served(database_url, settings))))
        for number, (tenant, canary) in enumerate(CANARIES.items()):
            assert obeyed(partial(client.put, tenant, "openai", api_key=canary)).status_code == 200
            client.http.headers["X-Audit-Reason"] = f"=ticket {number}"
            if number % 3 == 0:
                assert obeyed(partial(client.put, tenant, "openai", api_key=f"{canary}-next")).status_code == 200
            if number % 5 == 0:
                assert obeyed(partial(client.delete, tenant, "openai")).status_code in {200, 404}
            if number % 7 == 0:
                client.http.put(f"/api/v1/sysadmin/tenants/{canary}/credentials/openai", json={"api_key": canary})
                client.http.get("/api/v1/audit/entries", params={"q": f"{canary} x", "actor": canary})
                client.http.get(EXPORT, params={"format": "csv", "key_id": canary, "fingerprint": canary})
                client.http.get(EXPORT, headers={"X-API-Key": canary})
        del client.http.headers["X-Audit-Reason"]
        yield client


def exported(client: Client, form: ExportFormat) -> bytes:
    answer = client.http.get(EXPORT, params={"format": form.value})
    assert answer.status_code == 200, answer.text
    return answer.content


def assert_no_secret(found: bytes) -> None:
    keys = [key.reveal() for key in (ENCRYPTION_KEY, OTHER_ENCRYPTION_KEY)]
    secrets = [*CANARIES.values(), ADMIN_KEY, *keys, *(base64.urlsafe_b64decode(key).decode() for key in keys)]
    secrets.append(SIGNING_KEY.reveal().split("+", 4)[4])
    assert leaks(found, secrets) == set()
    assert b"enc:fernet" not in found and b"hmac-sha256" not in found


@pytest.mark.parametrize("form", ExportFormat)
def test_an_export_of_100_tenants_holds_no_secret_in_any_encoding(client: Client, form: ExportFormat) -> None:
    found = exported(client, form)
    assert all(tenant.encode() in found for tenant in TENANTS)
    assert found.count(b"\n") > 150
    assert_no_secret(found)


def test_every_format_tells_of_the_same_entries(client: Client) -> None:
    told = {form: exported(client, form) for form in ExportFormat}
    entries = [json.loads(line) for line in told[ExportFormat.JSONL].splitlines()]
    positions = [entry["position"] for entry in entries]
    assert positions == sorted(set(positions))
    of_csv = [int(found) for found in re.findall(rb"^(\d+),", told[ExportFormat.CSV], re.MULTILINE)]
    of_ocsf = [json.loads(line)["metadata"]["sequence"] for line in told[ExportFormat.OCSF].splitlines()]
    of_events = [json.loads(line)["data"] for line in told[ExportFormat.CLOUDEVENTS].splitlines()]
    # Each export is the last entry of its own, and was made after the one before.
    assert of_csv == positions[:-1]
    assert of_ocsf[: len(positions)] == positions
    assert of_events[: len(entries)] == entries
    assert {entry["action"] for entry in entries} >= {"set", "replaced", "deleted", "request-refused", "audit-exported"}


def test_a_reason_is_no_formula_in_a_spreadsheet(client: Client) -> None:
    found = exported(client, ExportFormat.CSV)
    assert b",'=ticket 3," in found
    assert b",=" not in found


def test_the_command_line_writes_what_the_service_gives(client: Client, cli, bare_environment) -> None:
    env = {"KEYLEDGER_URL": str(client.http.base_url), "KEYLEDGER_API_KEY": ADMIN_KEY}
    ended = cli("audit", "export", "--format", "jsonl", "-o", "trail.jsonl", "action:deleted", env=env)
    assert ended.code == Exit.OK, ended.err
    lines = [json.loads(line) for line in (bare_environment / "trail.jsonl").read_text().splitlines()]
    assert len(lines) == 20 and {line["action"] for line in lines} == {"deleted"}
    *_, last = [json.loads(line) for line in cli("audit", "export", "--format", "jsonl", env=env).out.splitlines()]
    assert (last["action"], last["source"], last["details"]) == ("audit-exported", "cli", {"format": "jsonl"})
    recorded = client.http.get("/api/v1/audit/entries", params={"q": "action:audit-exported", "order": "newest"})
    assert recorded.json()["entries"][1]["details"] == {"format": "jsonl", "query": "action:deleted"}


def bundled(client: Client, cli: Cli, folder: Path, *wanted: str) -> bytes:
    """Take a bundle, verify it, and return all of its files, names included."""
    env = {"KEYLEDGER_URL": str(client.http.base_url), "KEYLEDGER_API_KEY": ADMIN_KEY}
    taken = cli("audit", "bundle", "-o", folder.name, *wanted, env=env)
    assert taken.code == Exit.OK, taken.err
    assert (
        cli("audit", "verify", folder.name, "--public-key", LogSigner(SIGNING_KEY).of_ledger(LEDGER_ID).vkey).code
        == Exit.OK
    )
    files = [path for path in folder.rglob("*") if path.is_file()]
    return b"".join(str(path.relative_to(folder)).encode() + b"\n" + path.read_bytes() for path in files)


def test_a_bundle_of_one_tenant_among_100_holds_no_secret_and_nothing_of_others(
    client: Client, cli: Cli, bare_environment: Path
) -> None:
    for number in (0, 1, 7, 35):  # who replaced, did nothing more, mistook, deleted
        tenant = TENANTS[number]
        found = bundled(client, cli, bare_environment / f"bundle-{number}", "--tenant", tenant)
        assert found.count(tenant.encode()) >= 2
        assert [other for other in TENANTS if other != tenant and other.encode() in found] == []
        reasons = {f"=ticket {other}".encode() for other in range(100)} - {
            f"=ticket {one}".encode() for one in (number, number - 1)
        }
        assert not {reason for reason in reasons if reason + b'"' in found}
        assert_no_secret(found)


def test_a_full_bundle_of_100_tenants_holds_no_secret(client: Client, cli: Cli, bare_environment: Path) -> None:
    found = bundled(client, cli, bare_environment / "bundle")
    assert all(tenant.encode() in found for tenant in TENANTS)
    assert_no_secret(found)


def test_evidence_of_one_tenant_names_no_other_in_the_answer_itself(client: Client) -> None:
    found = client.http.get("/api/v1/audit/evidence", params={"tenant_id": TENANTS[3]}).content
    assert [other for other in TENANTS if other.encode() in found] == [TENANTS[3]]
    assert_no_secret(found)
