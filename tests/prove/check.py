"""Compares the clients' account with the log and with the keys that reached the provider.

Finds: an acknowledged command that the log does not hold (*lost*); a command that it holds twice (*doubled*); a refused
one that it holds (*contradicted*); a call that carried a key which no command of that tenant set (*wrong*), or one that
had been replaced or deleted by a command acknowledged before a call began (*stale*); a tenant whose current key is not
that of the last event (*unlike the log*).
Counts, and accuses no one of: a call with the key of a command of unknown outcome that is not in the log (*vanished*).
The order of changes is that of the log, so only whether an answer arrived before a call began is a matter of clocks.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf

from tests.prove.ledger import DELETE, Command
from tests.prove.part import Counts

_SHOWN = 5  # sentences of a kind: the first ones are enough to begin with


@dataclass(frozen=True)
class Logged:
    """One change of a credential in the log. request: the id of the request that made it."""

    position: int
    tenant: str
    provider: str
    request: str


@dataclass(frozen=True)
class Read:
    """One call: the key that reached the provider, "" when the service refused because there is no credential.

    began, ended: seconds of the ledger's clock. by: the node that was asked.
    """

    tenant: str
    provider: str
    key: str
    began: float
    ended: float
    by: str = ""


@dataclass(frozen=True)
class _Placed:
    """A command with its place in the log; infinite if it is not there."""

    command: Command
    position: float


def check(
    commands: Sequence[Command],
    log: Sequence[Logged],
    reads: Iterable[Read] = (),
    current: Mapping[tuple[str, str], str] | None = None,
) -> Counts:
    """Return the counts, with a sentence for each thing found.

    current: the key in effect of each credential, "" for none; None if it was not looked at.
    """
    counts = Counts(acknowledged=0, unknown=0, refused=0, lost=0, doubled=0, contradicted=0)
    placed = _commands(commands, log, counts)
    _reads(placed, reads, counts)
    if current is not None:
        _final(placed, current, counts)
    return counts


def _note(counts: Counts, word: str, sentence: str) -> None:
    counts[word] += 1
    if counts[word] <= _SHOWN:
        counts.faults.append(f"{word}: {sentence}")


def _commands(
    commands: Sequence[Command], log: Sequence[Logged], counts: Counts
) -> Mapping[tuple[str, str], list[_Placed]]:
    times = Counter(entry.request for entry in log)
    positions = {entry.request: entry.position for entry in log}
    placed = defaultdict(list)
    for command in commands:
        found = sum(times[request.id] for request in command.requests)
        counts["acknowledged" if command.acknowledged else "refused" if command.refused else "unknown"] += 1
        if command.acknowledged and not found:
            _note(counts, "lost", f"{command} was acknowledged and is not in the log")
        if found > 1:
            _note(counts, "doubled", f"{command} is in the log {found} times")
        if command.refused and found:
            _note(counts, "contradicted", f"{command} was refused and is in the log")
        position = min((positions[request.id] for request in command.requests if request.id in positions), default=inf)
        placed[command.first.tenant, command.first.provider].append(_Placed(command, position))
    for of_one in placed.values():
        of_one.sort(key=lambda one: one.position)
    return placed


def _reads(placed: Mapping[tuple[str, str], list[_Placed]], reads: Iterable[Read], counts: Counts) -> None:
    by_key = {one.command.first.key: one for of_one in placed.values() for one in of_one if one.command.first.key}
    counts.update({"reads": 0, "wrong": 0, "stale": 0, "stalest ms": 0, "vanished": 0})
    for read in reads:
        counts["reads"] += 1
        said = f"a call of {read.tenant}/{read.provider}{f' at {read.by}' if read.by else ''} carried"
        source = by_key.get(read.key)
        if read.key and (source is None or not _could_carry(read, source.command)):
            _note(counts, "wrong", f"{said} {read.key!r}")
            continue
        newer = _obeyed_before(read, placed.get((read.tenant, read.provider), []), source)
        if newer is not None:
            late = read.began - newer.answered
            counts["stalest ms"] = max(counts["stalest ms"], round(1000 * late))
            _note(
                counts,
                "stale",
                f"{said} {read.key or 'no key'} although {newer} had been acknowledged {late:.2f} s before",
            )
        elif source is not None and source.position == inf:
            counts["vanished"] += 1


def _could_carry(read: Read, command: Command) -> bool:
    first = command.first
    return (first.tenant, first.provider) == (read.tenant, read.provider) and first.sent < read.ended


def _obeyed_before(read: Read, of_one: Sequence[_Placed], source: _Placed | None) -> Command | None:
    """Return the acknowledged command that the read should have obeyed and did not; None if there is none."""
    obeyed = [one for one in of_one if one.command.answered < read.began and one.position < inf]
    newest = max(obeyed, key=lambda one: one.position, default=None)
    if newest is None:
        return None
    if source is None:  # right if the newest is a deletion, or if a deletion after it was under way
        deletions = (one for one in of_one if one.command.first.kind == DELETE and one.command.first.sent < read.ended)
        return newest.command if all(one.position < newest.position for one in deletions) else None
    if source.position == inf:  # it never happened, so it cannot have replaced what was sent after it
        return newest.command if newest.command.first.sent > source.command.first.sent else None
    return newest.command if newest.position > source.position else None


def _final(
    placed: Mapping[tuple[str, str], list[_Placed]], current: Mapping[tuple[str, str], str], counts: Counts
) -> None:
    counts["unlike the log"] += 0
    for (tenant, provider), of_one in placed.items():
        logged = [one for one in of_one if one.position < inf]
        expected = logged[-1].command.first.key if logged else ""
        found = current.get((tenant, provider), "")
        if found != expected:
            _note(
                counts, "unlike the log", f"{tenant}/{provider} resolves to {found or 'none'}, not {expected or 'none'}"
            )
