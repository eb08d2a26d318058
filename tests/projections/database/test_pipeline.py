"""The event loop's connection: each statement gets its own rows or none, whatever the server and the network do."""

import asyncio
import os
import signal
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psycopg
import pytest
import uvloop
from psycopg.conninfo import make_conninfo

from projections.database.connections import DEADLINE
from projections.database.numbered import Statement, text_array
from projections.database.pipeline import Pipeline, Rows
from tests.support.pooler import pooled

ECHO = Statement("echo", "SELECT %s::text")
NAMED = Statement("named", "SELECT %(word)s::text AS word, %(number)s::int AS number, %(word)s::text AS again")
FAILS = Statement("fails", "SELECT 1 / %s::int")
DEEP = Statement("deep", "SELECT (repeat('[', %(depth)s::int) || repeat(']', %(depth)s::int))::jsonb")
SLOW = Statement("slow", "SELECT pg_backend_pid(), pg_sleep(%s::float8)")
PID = Statement("pid", "SELECT pg_backend_pid()")
LIMIT = Statement("limit", "SELECT current_setting('statement_timeout'), current_setting('plan_cache_mode')")


def with_pipeline(
    address: str,
    use: Callable[[Pipeline], Awaitable[None]],
    admits: Callable[[str], bool] = lambda epoch: True,
    new_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop,
) -> None:
    async def run() -> None:
        pipeline = Pipeline(address, admits)
        await pipeline.start()
        try:
            await use(pipeline)
        finally:
            await pipeline.stop()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(run())


def ask(pipeline: Pipeline, statement: Statement, *parameters: str) -> "asyncio.Future[Rows | None]":
    answer: asyncio.Future[Rows | None] = asyncio.get_running_loop().create_future()
    pipeline.send(statement, [one.encode() for one in parameters], answer.set_result)
    return answer


async def pid_of(pipeline: Pipeline) -> int:
    rows = await ask(pipeline, PID)
    assert rows is not None
    return int(rows[0][0])


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def end(database_url: str, pid: int) -> None:
    with psycopg.connect(database_url, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])


def test_statements_sent_together_get_their_own_rows(address):
    async def use(pipeline: Pipeline) -> None:
        words = [f"word {nth}" for nth in range(200)]
        answers = await asyncio.gather(*(ask(pipeline, ECHO, word) for word in words))
        assert answers == [[(word,)] for word in words]

    with_pipeline(address, use)


def test_rows_are_read_by_column_and_as_python_values(address):
    async def use(pipeline: Pipeline) -> None:
        answer: asyncio.Future[Rows | None] = asyncio.get_running_loop().create_future()
        pipeline.send(NAMED, NAMED.by_name({"number": "7", "word": "some"}), answer.set_result)
        rows = await answer
        assert rows is not None
        assert rows == [("some", 7, "some")]
        assert rows.named() == [{"word": "some", "number": 7, "again": "some"}]

    with_pipeline(address, use)


def test_the_server_keeps_the_time_as_well(address):
    async def use(pipeline: Pipeline) -> None:
        limits = [await ask(pipeline, LIMIT) for _ in range(3)]
        assert [rows and rows[0][0] for rows in limits] == [f"{DEADLINE * 1000:.0f}ms"] * 3

    with_pipeline(address, use)


def test_a_statement_larger_than_the_socket_takes_is_sent_in_full(address):
    async def use(pipeline: Pipeline) -> None:
        long = "x" * 8_000_000
        first, second = ask(pipeline, ECHO, long), ask(pipeline, ECHO, "short")
        assert (await first, await second) == ([(long,)], [("short",)])

    with_pipeline(address, use)


def test_a_statement_that_fails_takes_those_behind_it_along_and_the_next_are_answered(address):
    async def use(pipeline: Pipeline) -> None:
        before, fails, behind = ask(pipeline, ECHO, "a"), ask(pipeline, FAILS, "0"), ask(pipeline, ECHO, "b")
        assert (await before, await fails, await behind) == ([("a",)], None, None)
        assert await ask(pipeline, ECHO, "c") == [("c",)]
        assert await ask(pipeline, FAILS, "1") == [(1,)]

    with_pipeline(address, use)


@pytest.mark.pooler
def test_behind_a_pooler_nothing_is_sent_before_the_transaction_before_is_answered(database_url):
    """Else the pooler hands the server over in the middle of the next one: portal "" does not exist (34000)."""
    with pooled(database_url, "pool_mode = transaction", "default_pool_size = 2") as pooler:

        async def use(pipeline: Pipeline) -> None:
            for _ in range(10):
                words = [f"word {nth} {'x' * 900}" for nth in range(200)]
                assert await asyncio.gather(*(ask(pipeline, ECHO, word) for word in words)) == [[(w,)] for w in words]

        with ThreadPoolExecutor(6) as threads:
            for done in [threads.submit(with_pipeline, pooler.url, use) for _ in range(6)]:
                done.result()


def test_an_answer_that_cannot_be_read_is_not_followed_by_those_of_others(address):
    async def use(pipeline: Pipeline) -> None:
        assert await ask(pipeline, DEEP, "1") == [([],)]
        deep, behind = ask(pipeline, DEEP, "3000"), ask(pipeline, ECHO, "b")
        assert await deep is None
        assert await behind in (None, [("b",)])  # behind a pooler it had not been sent yet
        assert await ask(pipeline, ECHO, "c") == [("c",)]

    with_pipeline(address, use)


def test_a_connection_that_ended_while_it_was_idle_costs_no_statement(database_url):
    async def use(pipeline: Pipeline) -> None:
        first = await pid_of(pipeline)
        end(database_url, first)  # no turn of the loop between this and the next statement
        assert await pid_of(pipeline) != first
        second = await pid_of(pipeline)
        end(database_url, second)
        for _ in range(20):
            await asyncio.sleep(0)
        assert await ask(pipeline, ECHO, "a") == [("a",)]

    with_pipeline(database_url, use)


def test_a_connection_that_ends_under_a_statement_leaves_it_without_rows(database_url):
    async def use(pipeline: Pipeline) -> None:
        pid = await pid_of(pipeline)
        slow, behind = ask(pipeline, SLOW, "1"), ask(pipeline, ECHO, "a")
        await asyncio.to_thread(end, database_url, pid)
        assert [await slow, await behind] == [None, None]
        assert await ask(pipeline, ECHO, "b") == [("b",)]

    with_pipeline(database_url, use)


def test_a_late_answer_is_not_taken_for_that_of_the_next_statement(database_url):
    async def use(pipeline: Pipeline) -> None:
        pid = await pid_of(pipeline)
        with stopped(pid):
            late = ask(pipeline, ECHO, "late"), ask(pipeline, ECHO, "too")
            assert [await one for one in late] == [None, None]
            assert await ask(pipeline, ECHO, "next") == [("next",)]
        assert await ask(pipeline, ECHO, "last") == [("last",)]

    with_pipeline(database_url, use)


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_an_answer_that_came_while_the_loop_stood_still_is_not_late(database_url, new_loop):
    async def use(pipeline: Pipeline) -> None:
        first = ask(pipeline, ECHO, "before there is a connection")
        await asyncio.sleep(0)
        time.sleep(DEADLINE + 1)  # noqa: ASYNC251
        assert await first == [("before there is a connection",)]
        pid = await pid_of(pipeline)
        answer = ask(pipeline, ECHO, "in time")
        time.sleep(DEADLINE + 1)  # noqa: ASYNC251  as a module that takes long to load
        assert await answer == [("in time",)]
        with stopped(pid):
            answer = ask(pipeline, ECHO, "late")
            time.sleep(DEADLINE + 1)  # noqa: ASYNC251
            assert await answer is None

    with_pipeline(database_url, use, new_loop=new_loop)


def test_a_notice_while_it_is_idle_does_not_end_the_connection(database_url):
    async def use(pipeline: Pipeline) -> None:
        pid = await pid_of(pipeline)
        with psycopg.connect(database_url, autocommit=True) as other:
            other.execute("ALTER ROLE CURRENT_USER SET application_name TO 'other'")
            other.execute("SELECT pg_reload_conf()")
            other.execute("ALTER ROLE CURRENT_USER RESET application_name")
        assert await pid_of(pipeline) == pid

    with_pipeline(database_url, use)


def test_a_database_that_is_away_leaves_statements_without_rows_in_time_and_is_used_once_it_is_back(database_url):
    away = make_conninfo(database_url, dbname="not-there-yet")

    async def use(pipeline: Pipeline) -> None:
        early = ask(pipeline, ECHO, "a"), ask(pipeline, ECHO, "b")
        assert [await one for one in early] == [None, None]
        with psycopg.connect(database_url, autocommit=True) as other:
            other.execute('CREATE DATABASE "not-there-yet"')
        assert await ask(pipeline, ECHO, "c") == [("c",)]

    try:
        with_pipeline(away, use)
    finally:
        with psycopg.connect(database_url, autocommit=True) as other:
            other.execute('DROP DATABASE "not-there-yet" WITH (FORCE)')


def test_a_server_that_may_not_be_used_is_asked_nothing(address):
    admitted = True

    async def use(pipeline: Pipeline) -> None:
        nonlocal admitted
        assert await ask(pipeline, ECHO, "a") == [("a",)]
        admitted = False
        assert await ask(pipeline, ECHO, "b") is None
        admitted = True
        assert await ask(pipeline, ECHO, "c") == [("c",)]

    with_pipeline(address, use, lambda epoch: admitted)


def test_a_connection_that_is_lost_as_soon_as_it_is_there_is_opened_again(database_url):
    asked: list[bool] = []

    def admits(_epoch: str) -> bool:
        if threading.current_thread() is threading.main_thread():
            asked.append(True)
            return len(asked) > 1
        return True

    async def use(pipeline: Pipeline) -> None:
        async with asyncio.timeout(DEADLINE):
            assert await ask(pipeline, ECHO, "a") == [("a",)]

    with_pipeline(database_url, use, admits)


def test_what_waits_when_the_service_stops_gets_no_rows(database_url):
    async def use(pipeline: Pipeline) -> None:
        await pid_of(pipeline)
        slow = ask(pipeline, SLOW, "1")
        await pipeline.stop()
        assert await slow is None

    with_pipeline(database_url, use)


@pytest.mark.pooler
def test_a_pooler_gets_back_its_session_as_it_was(database_url):
    with pooled(database_url, "pool_mode = transaction", "default_pool_size = 1") as pooler:

        async def use(pipeline: Pipeline) -> None:
            for _ in range(3):
                assert await ask(pipeline, ECHO, "a") == [("a",)]
            with psycopg.connect(pooler.url, autocommit=True, prepare_threshold=None) as next_client:
                assert next_client.execute("SHOW statement_timeout").fetchone() == ("0",)
                assert next_client.execute("SELECT count(*) FROM pg_prepared_statements").fetchone() == (0,)

        with_pipeline(pooler.url, use)


def test_an_array_takes_only_elements_that_need_no_quotes():
    assert text_array(["a-1", "b_2"]) == "{a-1,b_2}"
    for element in ('a"', "a}", "a b", "a\\", "{"):
        with pytest.raises(ValueError, match="needs quotes"):
            text_array(["plain", element])
