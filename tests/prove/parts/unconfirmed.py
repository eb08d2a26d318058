"""Commits that no standby confirmed: none of them is acknowledged, however the wait ends.

One service on one embedded server whose commits wait for a standby that never comes. While a request waits, its wait is
cancelled, its connection terminated, or its server process killed, at random times. The commit is then visible, and a
failover would take it away: so neither the request nor a repeat of it may be answered with 2xx, and a rotation may not
report that it is done.
"""

import random
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from api.front.paths import AUDIT
from domain.errors import StoreUnavailableError
from domain.events.event import CommandMeta
from domain.operations.encryption_keys import KeyRotationStarted
from keyledger import embedded_postgres
from keyledger.encryption.key_introduction import introduce_keys
from keyledger.encryption.keyring import Keyring
from keyledger.encryption.rotation import RotationProgress, Rotator
from tests.prove.away import Ending, unconfirming
from tests.prove.check import check
from tests.prove.client import Client
from tests.prove.ledger import DELETE, SET, Ledger, commands_of
from tests.prove.load import PROVIDER, send, until
from tests.prove.part import Counts, Part, Scale, nothing
from tests.prove.services import changes_in, services
from tests.support.native_provider import native_provider
from tests.support.rings import fingerprint, meta, now, rotator
from tests.support.store import ENCRYPTION_KEY, OTHER_ENCRYPTION_KEY, open_store

_AGAIN_S = 60
_CREDENTIALS = 20  # to be re-encrypted
_WORD = "acknowledged unconfirmed"


@dataclass(frozen=True)
class _Trial:
    """The service, and a tenant that has a credential."""

    client: Client
    ledger: Ledger
    tenant: str

    def send(self, kind: str) -> int:
        return send(self.client, self.ledger.sending(kind, self.tenant, PROVIDER), self.ledger).status


def _set(trial: _Trial) -> list[int]:
    return [trial.send(SET)]


def _delete(trial: _Trial) -> list[int]:
    return [trial.send(DELETE)]


def _repeat(trial: _Trial) -> list[int]:
    request = trial.ledger.sending(SET, trial.tenant, PROVIDER)
    while not request.idempotency:
        request = trial.ledger.sending(SET, trial.tenant, PROVIDER)
    first = send(trial.client, request, trial.ledger).status
    again = trial.ledger.sending(SET, trial.tenant, PROVIDER, request)
    return [first, send(trial.client, again, trial.ledger).status]


def _same_key(trial: _Trial) -> list[int]:
    """Set a key, and set it again as another command, which changes nothing if the first one happened."""
    request = trial.ledger.sending(SET, trial.tenant, PROVIDER)
    first = send(trial.client, request, trial.ledger).status
    again = trial.client.change(SET, trial.tenant, PROVIDER, request.key, {})
    return [first, again.status]


def _audit_read(trial: _Trial) -> list[int]:
    """Read the audit trail, which is recorded before it is answered."""
    return [trial.client.ask("audit", "GET", f"{AUDIT}/entries?tenant_id={trial.tenant}").status]


_ACTIONS: dict[str, Callable[[_Trial], list[int]]] = {
    "PUT": _set,
    "DELETE": _delete,
    "repeat with the same Idempotency-Key": _repeat,
    "PUT of the same key": _same_key,
    "read of the audit": _audit_read,
}


def run(scale: Scale, rng: random.Random, folder: Path) -> Counts:
    """Try each action with each ending, then a rotation with each."""
    counts = Counts(**{"tried": 0, "waits ended": 0})
    counts[_WORD] = 0
    with ExitStack() as stack:
        url = stack.enter_context(embedded_postgres.start(folder / "pg")).dsn("keyledger")
        provider = stack.enter_context(native_provider())
        ledger = stack.enter_context(Ledger(folder / "ledger"))
        with services({"only": url}, folder, provider) as running:
            client = Client("only", running["only"].url)
            cases = [(name, how) for name in _ACTIONS for how in Ending] * scale.of(1, 2, 20)
            rng.shuffle(cases)
            for name, how in cases:
                trial = _Trial(client, ledger, str(UUID(int=rng.getrandbits(128), version=4)))
                _try(trial, name, how, url, rng, counts)
            for _ in range(_CREDENTIALS):
                _Trial(client, ledger, str(UUID(int=rng.getrandbits(128), version=4))).send(SET)
            client.close()
        for how in Ending:
            _rotate(url, how, rng, counts)
        # No request of the trials was confirmed, and none is lost on this server: what counts is that none is doubled.
        kept = check(commands_of(folder / "ledger"), changes_in(url))
    if 2 * counts["untouched"] > counts["tried"]:
        counts.faults.append("most trials met no wait for a standby, so the part shows nothing")
    counts["doubled"] += kept["doubled"]
    counts.faults += [sentence for sentence in kept.faults if sentence.startswith("doubled")]
    return counts


def _try(trial: _Trial, name: str, how: Ending, url: str, rng: random.Random, counts: Counts) -> None:
    if trial.send(SET) != 200:
        raise AssertionError("the service does not write while no standby is required")
    with unconfirming(url, how, rng) as ended:
        statuses = _ACTIONS[name](trial)
    counts["tried"] += 1
    counts["waits ended"] += ended.count
    counts["untouched"] += not ended.count  # the standby came back before anything waited, or nothing was written
    if ended.count and any(200 <= status < 300 for status in statuses):
        _found(
            counts,
            f"{name} was answered {statuses} while its standby was away and {ended.count} waits were {how.value}",
        )
    _until_written(trial)


def _until_written(trial: _Trial) -> None:
    """Wait until the service writes again, as after a server process was killed."""
    if not until(lambda: trial.client.ready().succeeded and trial.send(SET) == 200, _AGAIN_S):
        raise AssertionError(f"the service did not write again {_AGAIN_S} s after its standby was no longer required")


def _rotate(url: str, how: Ending, rng: random.Random, counts: Counts) -> None:
    """Begin a rotation, lose the standby, and see whether a batch counts as done; then rotate to the end."""
    keys = [ENCRYPTION_KEY, OTHER_ENCRYPTION_KEY]
    primary = keys[(counts["rotations"] + 1) % 2]
    ring = Keyring(primary, [key for key in keys if key is not primary], fingerprint)
    with open_store(url, ring) as store:
        introduce_keys(store.log, ring, meta(), now)
        one, by = rotator(store, ring), meta()
        begun = one.begin(by)
        with unconfirming(url, how, rng) as ended:
            done = _batches(one, begun, by)
        counts["rotations"] += 1
        counts["waits ended"] += ended.count
        if done:
            waits = f"{ended.count} waits were {how.value}"
            _found(counts, f"a rotation counted {done} credentials as done while the standby was away and {waits}")
        one.run(begun, by, lambda progress: True)


def _batches(one: Rotator, begun: KeyRotationStarted, by: CommandMeta) -> int:
    """Return how many credentials a rotation counts as done before it reports an outage."""
    done = 0

    def note(progress: RotationProgress) -> bool:
        nonlocal done
        done = progress.counts.reencrypted
        return True

    with suppress(StoreUnavailableError):
        one.run(begun, by, note)
    return done


def _found(counts: Counts, sentence: str) -> None:
    counts[_WORD] += 1
    counts.faults.append(f"{_WORD}: {sentence}")


PART = Part(
    "unconfirmed",
    1.5,
    "a commit that no standby confirmed is never acknowledged, nor is a repeat of it",
    nothing,
    run,
    quick=True,
)
