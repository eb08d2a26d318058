"""A server that ends while a service uses it is started again, by one process, unless it was stopped on purpose."""

import logging
import os
import platform
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from threading import Barrier
from typing import cast

import psycopg
import pytest

from keyledger import embedded_postgres
from keyledger.embedded_postgres import EmbeddedPostgres, Supervision, postmaster
from keyledger.embedded_postgres.start_lock import start_lock
from keyledger.embedded_postgres.supervision import LONGEST_PAUSE_S
from tests.support.embedded_server import kill_the_server, number_of_the_server, query, starts_of_the_server

Start = Callable[[], EmbeddedPostgres]


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def supervise(data_dir: Path, clock: Clock) -> Iterator[Callable[[], Supervision]]:
    """Begin to look after the server of the test, as one of its users."""
    with ExitStack() as begun:

        def supervise() -> Supervision:
            supervision = Supervision(data_dir, clock)
            supervision.begin()
            begun.callback(supervision.end)
            return supervision

        yield supervise


def _broken(folder: Path) -> None:
    raise KeyError("sk-secret")


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "keyledger.embedded_postgres"]


def test_a_killed_server_is_started_again_at_the_same_address_with_one_line_in_the_log(
    start: Start, data_dir: Path, supervise: Callable[[], Supervision], caplog: pytest.LogCaptureFixture
) -> None:
    server, supervision = start(), supervise()
    supervision.look()
    kill_the_server(data_dir)
    supervision.look()
    supervision.look()
    assert query(server, "SELECT 1") == 1
    assert supervision.cause == ""
    assert lines(caplog) == ["the embedded PostgreSQL had ended; it was started again and runs"]
    assert starts_of_the_server(data_dir) == 2


def test_of_four_services_that_notice_at_once_one_starts_it(
    start: Start, data_dir: Path, supervise: Callable[[], Supervision]
) -> None:
    server, services, together = start(), [supervise() for _ in range(4)], Barrier(4)
    kill_the_server(data_dir)

    def look_until_it_runs(supervision: Supervision) -> None:
        together.wait()
        supervision.look()
        while supervision.cause:
            supervision.look()

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(look_until_it_runs, services))
    assert starts_of_the_server(data_dir) == 2
    assert query(server, "SELECT 1") == 1


def test_it_is_not_started_while_another_process_holds_the_start_lock(
    start: Start, data_dir: Path, supervise: Callable[[], Supervision]
) -> None:
    start()
    supervision = supervise()
    kill_the_server(data_dir)
    with start_lock(data_dir):
        supervision.look()
        assert "another process is starting or stopping it" in supervision.cause
        assert starts_of_the_server(data_dir) == 1
    supervision.look()
    assert supervision.cause == ""


def test_a_server_that_an_operator_stopped_stays_stopped_until_one_is_started(
    start: Start, data_dir: Path, supervise: Callable[[], Supervision], caplog: pytest.LogCaptureFixture
) -> None:
    start()
    supervision = supervise()
    embedded_postgres.stop(data_dir)
    supervision.look()
    supervision.look()
    assert embedded_postgres.status(data_dir) == "stopped"
    assert "keyledger database stop" in supervision.cause
    start()
    supervision.look()
    assert supervision.cause == ""
    assert len(lines(caplog)) == 2
    kill_the_server(data_dir)
    supervision.look()
    assert embedded_postgres.status(data_dir) == "running", "what was stopped once is not stopped for ever"


def test_the_last_to_leave_stops_a_server_that_was_started_again(
    start: Start, data_dir: Path, supervise: Callable[[], Supervision]
) -> None:
    server, supervision = start(), supervise()
    kill_the_server(data_dir)
    supervision.look()
    server.leave()
    assert embedded_postgres.status(data_dir) == "running"
    supervision.end()
    assert embedded_postgres.status(data_dir) == "stopped"


def test_a_kept_server_that_was_started_again_is_still_kept(
    start: Start, data_dir: Path, supervise: Callable[[], Supervision]
) -> None:
    server, supervision = start(), supervise()
    server.keep()
    kill_the_server(data_dir)
    supervision.look()
    server.leave()
    supervision.end()
    assert embedded_postgres.status(data_dir) == "running"


def test_while_it_cannot_start_attempts_have_growing_pauses_and_one_line(
    start: Start, data_dir: Path, supervise: Callable[[], Supervision], clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    start()
    supervision = supervise()
    kill_the_server(data_dir)
    control = data_dir / "postgres" / "global" / "pg_control"
    control.rename(control.with_name("away"))
    begun, attempts = clock.now, []
    for _ in range(4 * int(LONGEST_PAUSE_S)):
        before = (data_dir / "postgres.log").stat().st_size
        supervision.look()
        if (data_dir / "postgres.log").stat().st_size > before:
            attempts.append(clock.now - begun)
        clock.now += 1.0
    assert attempts == [0, 1, 3, 7, 15, 25, 35]
    assert supervision.cause == "the embedded PostgreSQL does not run: the cluster is damaged"
    assert len(lines(caplog)) == 1
    control.with_name("away").rename(control)
    clock.now += LONGEST_PAUSE_S
    supervision.look()
    assert supervision.cause == ""
    assert len(lines(caplog)) == 2


def test_a_long_path_keeps_its_short_link_while_the_server_is_down(
    data_dir: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/tmp")
    data_dir = data_dir / ("long" * 30)
    with embedded_postgres.start(data_dir, durable=False) as server:
        supervision = Supervision(data_dir, clock)
        supervision.begin()
        kill_the_server(data_dir)
        assert embedded_postgres.status(data_dir) == "stopped"
        supervision.look()
        assert query(server, "SELECT 1") == 1
        server.socket_folder.unlink()
        server.socket_folder.parent.rmdir()
        clock.now += LONGEST_PAUSE_S
        supervision.look()
        assert query(server, "SELECT 1") == 1
        supervision.end()
    assert not server.socket_folder.parent.exists()


def test_a_server_whose_process_this_one_could_not_see_is_not_started_again(
    start: Start, data_dir: Path, supervise: Callable[[], Supervision], monkeypatch: pytest.MonkeyPatch
) -> None:
    start()
    supervision = supervise()
    kill_the_server(data_dir)
    monkeypatch.setattr(postmaster, "_namespace", lambda: "of another container")
    supervision.look()
    assert "in another container" in supervision.cause
    assert starts_of_the_server(data_dir) == 1


def test_a_server_that_lives_and_does_not_answer_is_left_alone(
    start: Start, data_dir: Path, supervise: Callable[[], Supervision]
) -> None:
    start()
    supervision, number = supervise(), number_of_the_server(data_dir)
    socket = postmaster.socket_of(data_dir / "postgres")
    socket.rename(socket.with_name("away"))
    supervision.look()
    assert "does not answer" in supervision.cause
    socket.with_name("away").rename(socket)
    supervision.look()
    assert supervision.cause == ""
    assert number_of_the_server(data_dir) == number


@pytest.mark.skipif(platform.system() != "Linux", reason="reads /proc")
def test_a_server_that_still_stops_for_its_last_client_is_left_alone(
    start: Start, data_dir: Path, supervise: Callable[[], Supervision], clock: Clock
) -> None:
    server, supervision = start(), supervise()
    with psycopg.connect(server.dsn()) as client:
        os.kill(number_of_the_server(data_dir), signal.SIGTERM)
        while server.answer() != psycopg.pq.Ping.REJECT:
            pass
        for _ in range(10):
            clock.now += 10
            supervision.look()
        assert "or stopping" in supervision.cause
        assert client.execute("SELECT 1").fetchone() == (1,)


class Hopeless:
    """A server that rejects every client and never recovers, until it is ended."""

    ended = 0

    def is_alive(self) -> bool:
        return True

    def answer(self) -> psycopg.pq.Ping:
        return psycopg.pq.Ping.REJECT

    def can_never_serve(self) -> bool:
        return True

    def end_if_it_can_never_serve(self) -> bool:
        self.ended += 1
        return True


def test_a_server_whose_recovery_failed_for_good_is_ended_after_ten_seconds(clock: Clock, tmp_path: Path) -> None:
    supervision, server = Supervision(tmp_path, clock), Hopeless()
    supervision._server = cast(EmbeddedPostgres, server)
    for seconds in range(15):
        supervision.look()
        assert server.ended == (seconds >= 10)
        if server.ended:
            break
        clock.now += 1


def test_no_empty_cluster_takes_the_place_of_one_that_is_gone(
    start: Start, data_dir: Path, supervise: Callable[[], Supervision]
) -> None:
    start()
    supervision = supervise()
    kill_the_server(data_dir)
    (data_dir / "postgres").rename(data_dir / "moved")
    supervision.look()
    assert "its folder is gone" in supervision.cause
    assert not (data_dir / "postgres").exists()
    (data_dir / "moved").rename(data_dir / "postgres")


def test_an_attempt_that_breaks_in_an_unknown_way_is_not_the_last(
    start: Start,
    data_dir: Path,
    supervise: Callable[[], Supervision],
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    start()
    supervision = supervise()
    kill_the_server(data_dir)
    with monkeypatch.context() as broken:
        broken.setattr("keyledger.embedded_postgres.revival.programs_for", _broken)
        caplog.set_level(logging.INFO)
        supervision.look()
    assert "it does not start" in supervision.cause
    assert "sk-secret" not in caplog.text
    clock.now += LONGEST_PAUSE_S
    supervision.look()
    assert supervision.cause == ""
