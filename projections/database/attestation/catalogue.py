"""Reads the description of our tables and functions from the catalogue of a database."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from psycopg import sql

from projections.database.connections import EVENTS_TABLE, Connection
from projections.database.migration import SCHEMA, statements_of

_TABLE = re.compile(r"^CREATE TABLE IF NOT EXISTS (\w+)", re.MULTILINE)
_FUNCTION = re.compile(r"^CREATE OR REPLACE FUNCTION (\w+)", re.MULTILINE)
# Before the search path is narrowed, so nothing here may depend on it: no operator, and no function without its schema.
_PLACES = """
SELECT pg_catalog.current_schemas(true) AS path,
       ARRAY(SELECT coalesce(pg_catalog.to_regclass(name)::pg_catalog.oid, 0::pg_catalog.oid)
               FROM pg_catalog.unnest(%s::pg_catalog.text[]) AS name) AS oids
"""
_HOME = "SELECT n.nspname AS home FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.oid = %s"


class Thing(NamedTuple):
    """Something described. kind: such as column. of: its table or function. name: its own, or the arguments."""

    kind: str
    of: str
    name: str


Facts = Mapping[str, object]
Description = Mapping[Thing, Facts]


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The description of a database. home: the schema of our tables. oids: of our tables that a session finds."""

    description: Description
    home: str
    oids: Sequence[int]


def read_catalogue(connection: Connection) -> Catalogue | None:
    """Return what the session finds of our tables and functions; None where it finds no log.

    Changes the search path of the caller's transaction to what is described.
    """
    placed = connection.execute(_PLACES, [list(tables())]).fetchone() or {"path": [], "oids": []}
    connection.execute("SELECT pg_catalog.set_config('search_path', 'pg_catalog', true)")
    log = placed["oids"][tables().index(EVENTS_TABLE)]
    found = connection.execute(_HOME, [log]).fetchone()
    if found is None:
        return None
    home = sql.Identifier(found["home"]).as_string(connection)
    connection.execute("SELECT set_config('search_path', %s, true)", [f"pg_catalog, {home}"])
    parameters = {"tables": list(tables()), "functions": list(functions()), "home": home, **placed}
    rows = connection.execute(_statement(), parameters).fetchall()
    return Catalogue(
        {Thing(row["kind"], row["table_name"], row["name"]): _told(row["facts"]) for row in rows}, home, placed["oids"]
    )


@cache
def shipped() -> Description:
    """Return the description of what this program ships."""
    return dict(_lines(_file("shipped.json")))


def written(description: Description) -> str:
    """Return a description as text: a line of JSON for each thing."""
    things = sorted(description.items())
    return "[\n" + ",\n".join(json.dumps([*thing, facts], sort_keys=True) for thing, facts in things) + "\n]\n"


@cache
def tables() -> tuple[str, ...]:
    """Return the names of the tables that this program makes."""
    return tuple(name for file in SCHEMA for name in _TABLE.findall(statements_of(file)))


@cache
def functions() -> tuple[str, ...]:
    """Return the names of the functions that this program makes."""
    return tuple(name for file in SCHEMA for name in _FUNCTION.findall(statements_of(file)))


def _lines(text: str) -> Iterator[tuple[Thing, Facts]]:
    for kind, of, name, facts in json.loads(text):
        yield Thing(kind, of, name), facts


def _told(facts: Facts) -> Facts:
    """Return the facts without those that are absent, false or empty."""
    return {name: value for name, value in facts.items() if value not in {None, False, ""}}


@cache
def _statement() -> bytes:
    return _file("facts.sql").encode()


def _file(name: str) -> str:
    return files("projections.database.attestation").joinpath(name).read_text("utf-8")
