"""The embedded server as a test sees it from outside: its process, its log, one query."""

import os
import signal
from pathlib import Path

import psycopg

from keyledger import embedded_postgres
from keyledger.embedded_postgres import postmaster


def number_of_the_server(data_dir: Path) -> int:
    number = postmaster.find((data_dir / "postgres").resolve())
    assert number is not None
    return number


def kill_the_server(data_dir: Path) -> None:
    """End the server as the kernel does when memory runs out, and wait until its process is gone."""
    number = number_of_the_server(data_dir)
    os.kill(number, signal.SIGKILL)
    while postmaster.find((data_dir / "postgres").resolve()) == number:
        pass


def starts_of_the_server(data_dir: Path) -> int:
    """How often the server has come up, by its own log."""
    return (data_dir / "postgres.log").read_text().count("database system is ready to accept connections")


def query(server: embedded_postgres.EmbeddedPostgres, statement: str) -> object:
    with psycopg.connect(server.dsn()) as connection:
        row = connection.execute(statement.encode()).fetchone()
        return None if row is None else row[0]
