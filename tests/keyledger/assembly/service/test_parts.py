"""Parts start in order and stop in reverse, and a part that fails keeps no other from stopping."""

import asyncio
import logging
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from domain.audit.entries import Action
from keyledger.assembly.compose import build
from keyledger.assembly.service.parts import Parts, StartedByRequests
from keyledger.log.anchors.anchor import AnchorFile
from keyledger.proofs.checkpoint_file import CheckpointFile
from keyledger.proofs.signing_keys import generate_signing_key
from keyledger.settings.settings import load
from tests.support.service import environment, served
from tests.support.store import open_store

NAMES = ("pool", "watch", "meter", "gateway")


@dataclass
class Diary:
    """Parts that note what happens to them. fails: raised by the step of that name, such as `start meter`."""

    fails: dict[str, BaseException]

    def __post_init__(self) -> None:
        self.steps: list[str] = []
        self.parts = Parts({name: Noted(self, name) for name in NAMES})

    def note(self, step: str) -> None:
        self.steps.append(step)
        if step in self.fails:
            raise self.fails[step]


@dataclass
class Noted:
    diary: Diary
    name: str

    async def start(self) -> None:
        self.diary.note(f"start {self.name}")

    async def stop(self) -> None:
        self.diary.note(f"stop {self.name}")


STARTS, STOPS = [f"start {name}" for name in NAMES], [f"stop {name}" for name in reversed(NAMES)]


async def live(parts: Parts) -> None:
    await parts.start()
    await parts.stop()


def test_parts_start_in_their_order_and_stop_in_the_reverse() -> None:
    diary = Diary({})
    asyncio.run(live(diary.parts))
    assert diary.steps == STARTS + STOPS


def test_parts_that_were_stopped_are_not_stopped_again() -> None:
    diary = Diary({})
    asyncio.run(live(diary.parts))
    asyncio.run(diary.parts.stop())
    assert diary.steps == STARTS + STOPS


@pytest.mark.parametrize("failing", range(len(NAMES)), ids=NAMES)
@pytest.mark.parametrize("failure", [OSError("secret"), asyncio.CancelledError()], ids=["an error", "a cancellation"])
def test_when_a_part_fails_to_start_those_before_it_are_stopped_and_those_after_it_never_start(
    failing: int, failure: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    diary = Diary({STARTS[failing]: failure})
    with pytest.raises(type(failure)):
        asyncio.run(live(diary.parts))
    assert diary.steps == STARTS[: failing + 1] + STOPS[len(NAMES) - failing :]
    assert [record.getMessage() for record in caplog.records] == [
        f"{NAMES[failing]} did not start: {type(failure).__name__}"
    ]


@pytest.mark.parametrize("failing", range(len(NAMES)), ids=NAMES)
def test_when_a_part_fails_to_stop_the_others_are_stopped_and_the_error_is_logged_without_its_text(
    failing: int, caplog: pytest.LogCaptureFixture
) -> None:
    diary = Diary({STOPS[failing]: OSError("secret")})
    asyncio.run(live(diary.parts))
    assert diary.steps == STARTS + STOPS
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
        (logging.ERROR, f"{STOPS[failing].removeprefix('stop ')} did not stop in order: OSError")
    ]


def test_a_part_that_fails_to_start_and_one_that_then_fails_to_stop_leave_the_first_failure_and_stop_the_rest() -> None:
    diary = Diary({"start gateway": OSError("first"), "stop meter": OSError("second")})
    with pytest.raises(OSError, match="first"):
        asyncio.run(live(diary.parts))
    assert diary.steps == [*STARTS, *STOPS[1:]]


@pytest.mark.parametrize("failing", range(len(NAMES)), ids=reversed(NAMES))
def test_a_cancellation_while_parts_stop_stops_them_all_the_same_and_then_takes_effect(failing: int) -> None:
    diary = Diary({STOPS[failing]: asyncio.CancelledError()})
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(live(diary.parts))
    assert diary.steps == STARTS + STOPS


def test_work_that_requests_started_is_ended_off_the_event_loop() -> None:
    ended: list[bool] = []

    def end() -> None:
        with pytest.raises(RuntimeError):
            asyncio.get_running_loop()
        ended.append(True)

    asyncio.run(live(Parts({"rotations": StartedByRequests(end)})))
    assert ended == [True]


BEFORE = [
    ("connections", "heartbeat", "whatever asks the database has its connections"),
    ("heartbeat", "watch of the log", "a node is known to the others while anything of it writes"),
    ("watch of the log", "signing of checkpoints", "the anchor knows the last event"),
    ("signing of checkpoints", "audit recorder", "the last checkpoint covers the last event"),
    ("signing of checkpoints", "usage meter", "the last checkpoint covers the last event"),
    ("usage meter", "gateway", "a call that is cut off is counted"),
    ("usage meter", "pass-through", "a call that is cut off is counted"),
    ("audit recorder", "rotations", "nothing of a rotation is missing in checkpoint and anchor"),
    ("audit recorder", "replays", "nothing of a replay is missing in checkpoint and anchor"),
]


def test_a_service_stops_what_others_leave_work_to_after_them(database_url: str, tmp_path: Path) -> None:
    service = build(load(environment(DATA_DIR=str(tmp_path)), None), database_url)
    service.close()
    names = service.parts.names
    assert {so_that for first, last, so_that in BEFORE if names.index(first) >= names.index(last)} == set()


def test_what_the_last_request_left_is_in_the_log_the_last_checkpoint_and_the_anchor(
    database_url: str, tmp_path: Path
) -> None:
    settings = environment(DATA_DIR=str(tmp_path), AUDIT_SIGNING_KEY=generate_signing_key().reveal())
    with served(database_url, settings) as url:
        httpx.get(f"{url}/api/v1/sysadmin/tenants/none/credentials", trust_env=False)  # refused, and that is recorded

    with open_store(database_url) as store:
        last = store.audit()[-1]
        anchor = AnchorFile(tmp_path).read()
    assert anchor is not None
    assert last.action is Action("request-refused")
    assert anchor.position == last.position
    kept = CheckpointFile(tmp_path).read()
    assert kept is not None
    assert kept[1].size == last.position
