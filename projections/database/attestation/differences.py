"""Compares the description of a database with the shipped one."""

from collections.abc import Iterator, Mapping

from projections.database.attestation.catalogue import Description, Facts, Thing
from projections.database.findings import Flaw

_FLAWS: Mapping[str, Flaw] = {
    "table": Flaw.TABLES,
    "column": Flaw.COLUMNS,
    "constraint": Flaw.CONSTRAINTS,
    "index": Flaw.INDEXES,
    "trigger": Flaw.TRIGGERS,
    "function": Flaw.FUNCTIONS,
}
_ADDED: Mapping[str, Flaw] = {
    "trigger": Flaw.ADDED_CODE,
    "rule": Flaw.ADDED_CODE,
    "shadow": Flaw.SHADOWED,
    "built-in": Flaw.SHADOWED,
    "event trigger": Flaw.EVENT_TRIGGERS,
}
_BY_MIGRATION = frozenset({Flaw.FUNCTIONS, Flaw.ADDED_CODE})

Difference = tuple[Flaw, str]
"""What kind, and the name of what differs with how it does."""


def differences(expected: Description, found: Description, *, newer: bool) -> Iterator[Difference]:
    """Yield what differs. newer: a newer release migrated the database.

    A migration adds and replaces functions, so under a newer release neither is a difference.
    """
    hidden = {thing.of for thing in expected if thing.kind == "table" and not _is_table(found.get(thing))}
    for thing, facts in expected.items():
        if thing.of in hidden and thing.kind != "table":
            continue  # said of the table itself
        yield from (
            (flaw, name)
            for flaw, name in _expected(thing, facts, found.get(thing))
            if not (newer and flaw in _BY_MIGRATION)
        )
    for thing in found.keys() - expected.keys():
        added = None if thing.of in hidden else _added(thing, found[thing])
        if added is not None and (not newer or added in {Flaw.SHADOWED, Flaw.EVENT_TRIGGERS}):
            yield added, _name_of_added(thing)


def _is_table(facts: Facts | None) -> bool:
    return facts is not None and facts.get("kind") == "r"


def _expected(thing: Thing, expected: Facts, found: Facts | None) -> Iterator[Difference]:
    flaw = _FLAWS[thing.kind]
    if thing.kind == "index" and not expected.get("unique") and not (found or {}).get("unique"):
        flaw = Flaw.SLOW_INDEXES
    if thing.kind == "trigger":
        if expected != found:
            yield flaw, thing.of  # the table that is no longer protected
        return
    if found is None:
        yield flaw, f"{_name_of(thing)} (missing)"
        return
    changed = {name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name)}
    if thing.kind == "table":
        for fact, other in (("persistence", Flaw.UNLOGGED), ("row security", Flaw.ROW_SECURITY)):
            if fact in changed and _is_table(found):
                changed.discard(fact)
                yield other, thing.name
    if changed:
        yield flaw, f"{_name_of(thing)} ({', '.join(sorted(changed))} changed)"


def _added(thing: Thing, facts: Facts) -> Flaw | None:
    """Return what is wrong with something that this program did not make; None if it is harmless."""
    if thing.kind == "index":
        return Flaw.INDEXES if facts.get("unique") or facts.get("made here") else None
    if thing.kind == "column":
        default = str(facts.get("default", ""))
        refuses = facts.get("required") and not default
        runs = "(" in default or facts.get("generated") or facts.get("identity") or facts.get("made here")
        return Flaw.COLUMNS if refuses or runs else None
    return _ADDED.get(thing.kind, _FLAWS.get(thing.kind))


def _name_of(thing: Thing) -> str:
    """Return our own name of something that we made."""
    if thing.kind == "column":
        return f"{thing.of}.{thing.name}"
    return thing.of if thing.kind == "function" else thing.name


def _name_of_added(thing: Thing) -> str:
    """Return where something is that we did not make. Its own name may be anything."""
    return f"{thing.of} ({thing.kind} added)" if thing.kind != "shadow" else f"{thing.of} (in another schema)"
