"""A node whose clock is an hour off changes nothing, and moves no answer about the past."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from scripts.terminal.exits import Exit
from tests.support.command_line import command
from tests.support.faketime import clock_of, missing, set_clock
from tests.support.service import DIRECT_MODELS, Client, ServiceProcess, client_of, environment

TENANT = "11111111-1111-4111-8111-111111111111"
PATH = f"/api/v1/tenants/{TENANT}"
HOUR_S = 3600


def times_of(client: Client, **wanted: str) -> list[str]:
    """The times of the changes in an export."""
    answer = client.http.get("/api/v1/audit/export", params={"format": "jsonl", "provider": "openai", **wanted})
    assert answer.status_code == 200, answer.text
    entries = [json.loads(line) for line in answer.text.splitlines()]
    return [one["timestamp"] for one in entries if one["action"] in {"set", "replaced", "deleted"}]


def versions_at(client: Client, time: str) -> list[int]:
    answer = client.http.get(f"/api/v1/sysadmin/tenants/{TENANT}/credentials", params={"as_of": time})
    assert answer.status_code == 200, answer.text
    return [one["version"] for one in answer.json()["credentials"]]


@pytest.mark.long
@pytest.mark.skipif(bool(missing()), reason=missing())
def test_a_node_an_hour_off_changes_nothing_and_moves_no_answer_about_the_past(
    database_url: str, tmp_path: Path
) -> None:
    settings = environment(DATABASE_URL=database_url, AI_MODELS_FILE=DIRECT_MODELS, DATA_DIR=str(tmp_path / "right"))
    said = tmp_path / "clock"
    set_clock(said, 0)
    elsewhere = settings | {"DATA_DIR": str(tmp_path / "wrong"), **clock_of(said)}
    right, wrong = (
        ServiceProcess(settings, tmp_path),
        ServiceProcess(elsewhere, tmp_path, module="tests.support.wrong_clock"),
    )
    with right, wrong, client_of(right.url) as true, client_of(wrong.url) as false:
        for off, version, changes in ((HOUR_S, 2, 4), (-HOUR_S, 6, 8)):
            change_and_ask(true, false, lambda seconds: set_clock(said, seconds), off, version, changes)
    ended = command(tmp_path, settings, "verify")
    assert ended.code == Exit.OK, ended.err


def change_and_ask(
    true: Client, false: Client, turn: Callable[[int], None], off: int, version: int, changes: int
) -> None:
    """Set two keys and delete a third, with the clock of one node off between changes, and ask both about the past.

    turn: sets that clock off by seconds. version: of the second key. changes: that there are in all at the end.
    """
    for key in ("sk-first-0123456789", "sk-second-0123456789"):
        assert false.put(TENANT, "openai", api_key=key).status_code == 200, "while its clock is right"
    before = times_of(true)[-1]
    turn(off)
    refused = false.put(TENANT, "openai", api_key="sk-wrong-0123456789")
    assert (refused.status_code, "set the clock" in refused.text) == (503, True)
    assert true.put(TENANT, "openai", api_key="sk-third-0123456789").status_code == 200
    turn(0)
    assert false.delete(TENANT, "openai").status_code == 200, "once its clock is right again"
    turn(off)
    assert versions_at(true, before) == [version]
    if off > 0:
        assert versions_at(false, before) == [version]
    exported = times_of(true)
    assert exported == sorted(exported)
    assert len(exported) == changes
    assert times_of(true, since=before) == exported[-3:]
    assert false.http.get("/api/v1/audit/export", params={"format": "jsonl"}).status_code == 503, "not recorded"
    turn(0)
    assert times_of(false) == exported
