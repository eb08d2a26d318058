"""Several transactions in one round trip, directly and through a pooler."""

from collections.abc import Iterator

import psycopg
import pytest

from projections.database.connections import BoundedConnection, connect_bounded
from projections.database.numbered import Statement
from projections.database.round_trip import BIGINT, BYTEA, TEXT, Step, array, in_one_trip

ADD = Statement("add", "INSERT INTO notes SELECT * FROM unnest(%s::text[])")
COUNT = Statement("count", "SELECT count(*)::text FROM notes")
SINGLE = Statement("single", "SELECT 1 / (CASE WHEN count(*) > 1 THEN 0 ELSE 1 END) FROM notes")
MISSPELT = Statement("misspelt", "SELEKT")


@pytest.fixture
def connection(address: str, database_url: str) -> Iterator[BoundedConnection]:
    with psycopg.connect(database_url, autocommit=True) as superuser:
        superuser.execute("CREATE TABLE notes (text text PRIMARY KEY)")
        superuser.execute("GRANT ALL ON notes TO PUBLIC")
    with connect_bounded(address) as connection:
        assert connection.pooled == (address != database_url)
        yield connection


def add(*notes: str) -> Step:
    return Step(ADD, [array(TEXT, [note.encode() for note in notes])])


def counted(connection: BoundedConnection) -> int:
    (found,) = in_one_trip(connection, Step(COUNT, []))
    return int(found.get_value(0, 0) or b"")


def test_each_step_sees_what_the_one_before_it_committed(connection: BoundedConnection) -> None:
    for number in range(3):
        _, found = in_one_trip(connection, add(f"a{number}", f"b{number}"), Step(COUNT, []))
        assert found.get_value(0, 0) == str(2 * number + 2).encode()


def test_what_a_step_committed_stays_when_the_next_one_fails(connection: BoundedConnection) -> None:
    with pytest.raises(psycopg.errors.DivisionByZero):
        in_one_trip(connection, add("a", "b"), Step(SINGLE, []))
    assert counted(connection) == 2


@pytest.mark.parametrize("times", [1, 2])
def test_the_first_failure_is_the_outcome_and_the_connection_stays(connection: BoundedConnection, times: int) -> None:
    in_one_trip(connection, add("a"))
    for _ in range(times):
        with pytest.raises(psycopg.errors.UniqueViolation):
            in_one_trip(connection, add("b", "a"), Step(SINGLE, []))
    assert counted(connection) == 1
    assert connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE


def test_a_statement_that_cannot_be_prepared_takes_no_other_along(connection: BoundedConnection) -> None:
    for _ in range(2):
        with pytest.raises(psycopg.errors.SyntaxError):
            in_one_trip(connection, Step(MISSPELT, []), Step(COUNT, []))
    assert counted(connection) == 0


def test_more_than_the_sockets_hold_goes_through(connection: BoundedConnection) -> None:
    echo = Step(
        Statement("echo", "SELECT unnest(%s::bytea[])"), [array(BYTEA, [bytes([one]) * 20_000 for one in range(250)])]
    )
    for found in in_one_trip(connection, echo, echo, echo):
        assert [found.get_value(nth, 0) for nth in range(found.ntuples)] == [
            bytes([one]) * 20_000 for one in range(250)
        ]


@pytest.mark.parametrize("elements", [[], [b""], [None, b"x", None], [b"\x00\xff", b"'{},\\"]])
def test_an_array_arrives_as_it_was_sent(connection: BoundedConnection, elements: list[bytes | None]) -> None:
    numbers = [nth.to_bytes(8, "big") for nth in range(len(elements))]
    parts = Statement("parts", "SELECT * FROM unnest(%s::bigint[], %s::bytea[]) AS one (n, b) ORDER BY n")
    (found,) = in_one_trip(connection, Step(parts, [array(BIGINT, numbers), array(BYTEA, elements)]))
    assert [found.get_value(nth, 1) for nth in range(found.ntuples)] == elements


def test_a_late_answer_ends_the_connection(connection: BoundedConnection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("projections.database.connections.DEADLINE", 0.05)
    with pytest.raises(psycopg.OperationalError):
        in_one_trip(connection, Step(Statement("sleep", "SELECT pg_sleep(0.3)"), []))
    assert connection.closed


def test_a_session_that_is_ended_is_an_outage(connection: BoundedConnection) -> None:
    with pytest.raises(psycopg.OperationalError):
        in_one_trip(connection, Step(Statement("end", "SELECT pg_terminate_backend(pg_backend_pid())"), []))
    assert connection.closed
