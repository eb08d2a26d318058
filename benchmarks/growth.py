"""Whether resolving and setting credentials stay as fast when many are stored."""

from contextlib import ExitStack
from functools import partial
from pathlib import Path

from benchmarks import resolve
from benchmarks.frame import Contestant, Goal, Row, Scale, Section, apart, in_turn, rates, throughput_ratio
from benchmarks.load import Call, drive
from benchmarks.service import PUT, service, settle
from benchmarks.stored import database, fill
from keyledger.encryption.keyring import generate_encryption_key

GOAL = Goal(0.9)
CLIENTS = 8


def run(scale: Scale, folder: Path) -> Section:
    """Measure both at every size in turn."""
    section = Section(f"growth: throughput with many credentials stored, to {scale.stored[0]:,}")
    key = generate_encryption_key().reveal()
    with ExitStack() as opened:
        stored = {}
        for count in scale.stored:
            stored[count] = opened.enter_context(database(folder, f"stored_{count}"))
            fill(stored[count], key, count)
        resolving: dict[str, Contestant] = {
            f"{count:,}": partial(apart, resolve.measure, dsn, key, count, CLIENTS, scale.seconds)
            for count, dsn in stored.items()
        }
        _rows(section, "resolve", resolving, scale)
        putting: dict[str, Contestant] = {}
        for count, dsn in stored.items():
            place = folder / f"service-{count}"
            place.mkdir()
            running = opened.enter_context(service(place, database_url=dsn, encryption_key=key))
            settle(running)
            call = Call(PUT.method, PUT.path, PUT.headers, PUT.body, count)
            putting[f"{count:,}"] = partial(drive, running.port, call, CLIENTS, scale.seconds, scale.warm_up)
        _rows(section, "PUT", putting, scale)
    return section


def _rows(section: Section, what: str, contestants: dict[str, Contestant], scale: Scale) -> None:
    found = in_turn(contestants, scale.rounds)
    least, *others = contestants
    for name in others:
        ratio = throughput_ratio(found[name], found[least])
        beside = rates({name: found[name], least: found[least]})
        section.rows.append(Row(f"{what} at {name}, clients: {CLIENTS}", ratio, GOAL, beside))
