"""The steps of the tour. Each checks one claim and returns a table that shows it."""

import json
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from domain.credentials.built_in_providers import BUILT_IN
from domain.credentials.secret import Secret, mask
from scripts.demo.demo import MODELS
from scripts.demo.tour_stage import Stage, Step, Tenant, require
from scripts.terminal.output import Table
from scripts.terminal.service_client import credential_path


def _set_five_providers(stage: Stage) -> Table:
    rows = []
    for tenant in (stage.acme, stage.borealis):
        for provider in tenant.keys:
            answer = _set(stage, tenant, provider, tenant.keys[provider])
            rows.append((tenant.name, provider, answer["masked_key"], str(answer["version"]), answer["message"]))
    return Table(("tenant", "provider", "key", "version", "the service says"), rows)


def _call_with_own_keys(stage: Stage) -> Table:
    wanted = [(stage.acme, provider) for provider in MODELS] + [(stage.borealis, "openai")]
    rows = [_served(stage, tenant, provider, tenant.keys[provider], "tenant") for tenant, provider in wanted]
    return Table(_SERVED, rows)


def _fall_back(stage: Stage) -> Table:
    return Table(_SERVED, [_served(stage, stage.borealis, "mistral", stage.global_key, "global")])


def _replace(stage: Stage) -> Table:
    answer = _set(stage, stage.acme, "openai", stage.replaced_key)
    require(answer["version"] == 2, "a replaced credential has version 2")
    return Table(_SERVED, [_served(stage, stage.acme, "openai", stage.replaced_key, "tenant")])


def _refuse_without_fallback(stage: Stage) -> Table:
    _set(stage, stage.borealis, "mistral", stage.refused_key)
    response, arrived = stage.chat(stage.borealis, MODELS["mistral"])
    require(response.status_code == 424, f"a rejected key gives 424, not {response.status_code}")
    problem = response.json()
    require(problem["code"] == "credential-rejected", f"the problem is credential-rejected, not {problem['code']}")
    keys = [request.key for request in arrived]
    require(keys == [stage.refused_key.reveal()], "the provider saw the tenant's key once, and no other key")
    seen = ", ".join(mask(key) for key in keys if key)
    answer = f"{response.status_code} {problem['code']}"
    return Table(
        ("tenant", "model", "keys the provider saw", "the global key", "answer", "in words"),
        [("Borealis", MODELS["mistral"], seen, f"{stage.global_key.masked()} not tried", answer, problem["detail"])],
    )


def _delete(stage: Stage) -> Table:
    response = stage.send("DELETE", credential_path(stage.borealis.id, "mistral"))
    require(response.status_code == 200, f"DELETE answers 200, not {response.status_code}")
    require(_status(stage, stage.borealis, "mistral") == 404, "a deleted credential is gone")
    return Table(_SERVED, [_served(stage, stage.borealis, "mistral", stage.global_key, "global")])


def _limit_a_program(stage: Stage) -> Table:
    keys = "/api/v1/sysadmin/access-keys"
    name = f"acme-{stage.acme.id[:8]}"
    created = stage.send("POST", keys, {"name": name, "role": "runtime", "tenants": [stage.acme.id]})
    require(created.status_code == 201, f"an access key is created with 201, not {created.status_code}")
    token = Secret(created.json()["token"])
    rows = [
        _tried(stage, stage.acme, token, "its own tenant", 200),
        _tried(stage, stage.borealis, token, "another", 403),
    ]
    revoked = stage.send("DELETE", f"{keys}/{name}")
    require(revoked.status_code == 200, f"an access key is revoked with 200, not {revoked.status_code}")
    rows.append(_tried(stage, stage.acme, token, "its own tenant, after the revocation", 401))
    return Table(("access key", "calls for", "tenant", "answer", "key that arrived"), rows)


def _list(stage: Stage) -> Table:
    rows: list[tuple[str, ...]] = []
    expected = {"Acme": set(MODELS), "Borealis": {"openai"}}
    for tenant in (stage.acme, stage.borealis):
        listed = stage.send("GET", credential_path(tenant.id)).json()["credentials"]
        require({one["provider"] for one in listed} == expected[tenant.name], f"{tenant.name} has what was set")
        require(all(one["encryption_status"] == "encrypted" for one in listed), "every credential can be opened")
        names = ("provider", "masked_key", "encryption_status", "version", "key_id", "configured_at")
        rows += [(tenant.name, *(_cell(one[name]) for name in names)) for one in listed]
    return Table(("tenant", "provider", "key", "status", "version", "sealed under", "set at"), rows)


def _audit(stage: Stage) -> Table:
    rows: list[tuple[str, ...]] = []
    counts = {}
    for tenant in (stage.acme, stage.borealis):
        entries = stage.send("GET", f"/api/v1/audit/entries?tenant_id={tenant.id}").json()["entries"]
        counts[tenant.name] = [entry["action"] for entry in entries]
        names = ("position", "timestamp", "actor", "action", "provider", "version", "masked_key")
        rows += [(tenant.name, *(_cell(entry[name]) for name in names)) for entry in entries]
    changes = {name: [action for action in found if action in _CHANGES] for name, found in counts.items()}
    require(changes["Acme"] == ["set"] * 5 + ["replaced"], "the trail has Acme's five settings and the replacement")
    require(changes["Borealis"] == ["set", "set", "deleted"], "the trail has Borealis' settings and the deletion")
    require("credential-rejected" in counts["Borealis"], "the trail has the rejection of Borealis' key")
    return Table(("tenant", "position", "when", "who", "did", "provider", "version", "key"), rows)


def _rotate(stage: Stage) -> Table:
    keys = "/api/v1/sysadmin/encryption-keys"
    stage.promote()
    old = stage.send("GET", keys).json()["keys"][1]
    require(old["live"] >= len(MODELS) + 1 and not old["safe_to_remove"], "the old key is needed before the rotation")
    rows = [_key_row("before", old)]
    begun = stage.send("POST", f"{keys}/rotations")
    require(begun.status_code == 202, f"a rotation begins with 202, not {begun.status_code}")
    followed = stage.send("GET", f"{begun.headers['Location']}/events").text
    told = [json.loads(line.removeprefix("data: ")) for line in followed.splitlines() if line.startswith("data: ")]
    require(told[-1]["state"] == "completed" and told[-1]["failed"] == 0, "the rotation ends, and nothing failed")
    rows += [
        (event["state"], event["key_id"], "", f"{event['done']} of {event['total']} re-encrypted", "", "")
        for event in (begun.json(), *told)
    ]
    found = stage.send("GET", keys).json()["keys"]
    rows += [_key_row("after", key) for key in found]
    after = next(key for key in found if key["key_id"] == old["key_id"])
    require(after["live"] == 0 and after["safe_to_remove"], "afterwards no live credential needs the old key")
    _served(stage, stage.acme, "openai", stage.replaced_key, "tenant")
    return Table(("", "encryption key", "state", "live credentials", "safe to remove", "why"), rows)


def _scan_database(stage: Stage) -> Table:
    import psycopg
    from psycopg import sql

    rows = []
    with psycopg.connect(stage.dsn) as connection:
        for (name,) in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"):
            statement = sql.SQL("COPY {} TO STDOUT (FORMAT binary)").format(sql.Identifier(name))
            with connection.cursor().copy(statement) as copy:
                content = b"".join(bytes(block) for block in copy)
            found = sum(secret.reveal().encode() in content for secret in stage.secrets())
            require(found == 0, f"table {name} contains a key in plain text")
            rows.append((name, f"{len(content):,}", str(found)))
        query = "SELECT left(token, 14) FROM current_credentials WHERE tenant_id = %s"
        tokens = connection.execute(query, [stage.acme.id]).fetchall()
    require(tokens == [("enc:fernet:v1:",)] * len(MODELS), "every stored token is marked as encrypted")
    return Table(("table", "bytes searched", "keys found in clear"), rows)


def _prove(stage: Stage) -> Table:
    from domain.proofs.tiles import TILE_WIDTH
    from keyledger.evidence import FullBundleWriter, verify_bundle

    with tempfile.TemporaryDirectory() as folder:
        bundle = Path(folder, "bundle")
        lines = [json.loads(line) for line in stage.send("GET", "/api/v1/audit/evidence").text.splitlines()]
        leaves = [line["leaf"].encode() for line in lines if "leaf" in line]
        FullBundleWriter(bundle).write(leaves, lines[0]["checkpoint"].encode())
        verdict = verify_bundle(bundle, stage.vkey)
        require(verdict.holds, f"the evidence holds: {verdict.error}")
        rows = [("verified offline", statement) for statement in verdict.proven]
        position = min(len(leaves), TILE_WIDTH) // 2  # in the first file of records
        entries = next(path for path in sorted(bundle.glob("tile/entries/**/*")) if path.is_file())
        entries.write_bytes(entries.read_bytes().replace(leaves[position - 1], leaves[position - 1][:-1] + b" "))
        forged = verify_bundle(bundle, stage.vkey).error
        require(forged is not None and forged.position == position, "a changed byte is found, with its position")
        rows.append((f"one byte of record {position} changed", str(forged)))
    return Table(("evidence", "the verdict"), rows)


def _replay(stage: Stage) -> Table:
    from projections.replay.replaying import PROJECTIONS, replay_projection

    _catch_up(stage.dsn)
    rows = []
    for projection in PROJECTIONS:
        before = _fingerprint(stage.dsn, projection)
        result = replay_projection(stage.dsn, projection)
        after = _fingerprint(stage.dsn, projection)
        require(result.difference_count == 0, f"the replayed {projection} equals the one it replaces")
        require(before == after, f"{projection} has the same fingerprint before and after")
        rows.append((projection, f"{result.rows:,}", before[:16], after[:16], "equal", f"{result.seconds:.2f} s"))
    require(_status(stage, stage.acme, "openai") == 200, "the service reads the replayed projection")
    return Table(("view", "rows", "dropped", "replayed", "result", "time"), rows)


STEPS: Sequence[Step] = (
    Step("Two tenants set their own keys for five providers; only masked keys come back", _set_five_providers),
    Step("Every call carries the tenant's own key to its provider", _call_with_own_keys),
    Step("A tenant without its own key uses the global key", _fall_back),
    Step("A replaced key is used from the next call on", _replace),
    Step("A tenant's invalid key is an error at once: no other key is tried", _refuse_without_fallback),
    Step("After a deletion, no call carries the old key", _delete),
    Step("A program's access key serves one tenant, and no call after its revocation", _limit_a_program),
    Step("The list shows the credentials in effect", _list),
    Step("The audit trail shows who did what, and when", _audit),
    Step("The encryption key is rotated while the service runs; the old one is then safe to remove", _rotate),
    Step("No table of the database contains a key in plain text", _scan_database),
    Step("The whole log is verified offline, and one changed byte is found", _prove),
    Step("The projections are dropped, replayed from the log, and equal", _replay),
)

_CHANGES = {"set", "replaced", "deleted"}
_TIME = re.compile(r"[0-9-]{10}T[0-9:]{8}\.[0-9]+Z")
_SERVED = ("tenant", "model", "served by", "came in header", "key that arrived", "expected")


def _set(stage: Stage, tenant: Tenant, provider: str, secret: Secret) -> dict[str, Any]:
    body = {"api_key": secret.reveal()} | _settings(stage.provider.url, provider)
    response = stage.send("PUT", credential_path(tenant.id, provider), body)
    require(response.status_code == 200, f"PUT for {provider} answers 200, not {response.status_code}")
    answer: dict[str, Any] = response.json()
    require(answer["masked_key"] == secret.masked(), "the answer shows the masked key")
    return answer


def _settings(provider_url: str, provider: str) -> dict[str, str]:
    """Return the settings that a credential for the stand-in needs besides the key."""
    row = BUILT_IN[provider]
    values = {"endpoint": provider_url, "api_version": "2024-10-21", "deployment_name": MODELS[provider]}
    needed = row.required | (frozenset() if row.base_url else {"endpoint"})
    return {field: value for field, value in values.items() if field in needed}


def _served(stage: Stage, tenant: Tenant, provider: str, expected: Secret, source: str) -> tuple[str, ...]:
    """Call the model and return a row that shows whose key was used."""
    response, arrived = stage.chat(tenant, MODELS[provider])
    require(response.status_code == 200, f"the call to {provider} answers 200, not {response.status_code}")
    told = response.headers.get("X-Credential-Source", "none")
    require(told == source, f"the call to {provider} says it was served by {source}, not {told}")
    require([request.key for request in arrived] == [expected.reveal()], f"{provider} saw one key, the right one")
    key, header = arrived[0].key or "", arrived[0].key_header or ""
    return (tenant.name, MODELS[provider], told, header, mask(key), expected.masked())


def _tried(stage: Stage, tenant: Tenant, token: Secret, which: str, status: int) -> tuple[str, ...]:
    """Call a model with an access key and return a row that shows whether the call was made."""
    response, arrived = stage.chat(tenant, MODELS["openai"], token)
    require(response.status_code == status, f"the call for {which} answers {status}, not {response.status_code}")
    expected = [stage.replaced_key.reveal()] if status == 200 else []
    require([request.key for request in arrived] == expected, f"the call for {which} carried the right key, or none")
    answer = f"{status} {response.json()['error']['code']}" if status >= 400 else str(status)
    return (token.masked(), which, tenant.name, answer, mask(arrived[0].key or "") if arrived else "no call was made")


def _status(stage: Stage, tenant: Tenant, provider: str) -> int:
    return stage.send("GET", credential_path(tenant.id, provider)).status_code


def _key_row(when: str, key: dict[str, Any]) -> tuple[str, ...]:
    safe = "yes" if key["safe_to_remove"] else "no"
    return (when, key["key_id"], key["state"], str(key["live"]), safe, key["reason"])


def _cell(value: object) -> str:
    """Return a value from a response as text; times to the second."""
    text = "" if value is None else str(value)
    return f"{text[:19]}Z" if _TIME.fullmatch(text) else text


def _fingerprint(dsn: str, projection: str) -> str:
    import psycopg
    from psycopg import sql

    text = "SELECT md5(coalesce(string_agg(v::text, chr(10) ORDER BY v::text), '')) FROM {} AS v"
    with psycopg.connect(dsn) as connection:
        row = connection.execute(sql.SQL(text).format(sql.Identifier(projection))).fetchone()
    return row[0] if row else ""


def _catch_up(dsn: str) -> None:
    """Catch the audit trail and the tree up with the log before they are compared."""
    from contextlib import closing

    from projections.audit import audit_trail
    from projections.database.pools import open_pool
    from projections.proofs import transparency_log

    with closing(open_pool(dsn)) as pool:
        audit_trail.follower(pool).run()
        transparency_log.follower(pool).run()
