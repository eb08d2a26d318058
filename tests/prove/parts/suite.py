"""The slow half of the test suite: the tests of `make test` with larger numbers, and those that it leaves out.

Larger numbers are parts only of a long run, or by name, because they take hours.
"""

import os
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from tests.prove.part import Counts, Part, Scale, nothing
from tests.support import pooler
from tests.support.places import REPOSITORY

_PARALLEL = ("-n", "auto", "--dist", "worksteal")
_COUNTED = re.compile(r"(\d+) (passed|failed|errors?|skipped)")
_SHOWN = 20


def _run(arguments: tuple[str, ...], numbers: Mapping[str, str], _: Scale, rng: random.Random, folder: Path) -> Counts:
    """Run pytest with these variables, and count its tests."""
    seed = ("--hypothesis-seed", str(rng.randrange(2**32)))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--basetemp", str(folder / "pytest"), *seed, *arguments],
        cwd=REPOSITORY,
        env={**os.environ, **{f"KEYLEDGER_TEST_{name}": number for name, number in numbers.items()}},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    counts = Counts(passed=0, failed=0)
    for number, word in _COUNTED.findall((done.stdout.strip().splitlines() or [""])[-1]):
        counts[word] += int(number)
    if done.returncode:
        (folder / "output").write_text(done.stdout, encoding="utf-8")
        failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
        counts.faults += failed[:_SHOWN] or [f"pytest {' '.join(arguments)} ended with {done.returncode}"]
    return counts


def _suite(name: str, minutes: float, says: str, *arguments: str, **numbers: str) -> Part:
    """Return a part of a long run. numbers: variables of `tests.support.effort`."""
    run = partial(_run, arguments, numbers)
    return Part(f"suite-{name}", minutes, says, nothing, run, quick=False, only_long=True)


def pgbouncer_missing() -> str:
    """Return what the machine lacks for PgBouncer, "" if nothing."""
    return "" if shutil.which("pgbouncer", path=pooler.SEARCHED) else pooler.MISSING


SUITES = (
    Part(
        "suite-left-out",
        3,
        "the tests that `make test` leaves out pass",
        nothing,
        partial(_run, (*_PARALLEL, "-m", "long"), {}),
        quick=False,
    ),
    _suite(
        "properties",
        25,
        "each property holds for 2,000 examples",
        *(*_PARALLEL, "--hypothesis-profile", "thorough", "-m", "hypothesis"),
        CANARY_TEXTS="20",
        SHARE="1",
    ),
    _suite(
        "kills",
        15,
        "50 kills of a service and 100 of a rotation lose nothing",
        *(
            *_PARALLEL,
            "tests/faults",
            "tests/e2e/test_crash.py",
            "tests/e2e/test_rotation.py",
            "tests/keyledger/encryption/test_rotation.py",
        ),
        KILLS="50",
        ROTATED="5000",
    ),
    _suite(
        "connections",
        2,
        "1,000 calls of several tenants at a time share no connection to a provider",
        *(*_PARALLEL, "tests/e2e/test_connections.py"),
        MIXED_CALLS="1000",
    ),
    _suite(
        "contract",
        15,
        "200 generated requests of each kind for each operation are answered as the OpenAPI document says",
        *(*_PARALLEL, "tests/e2e/test_openapi_contract.py"),
        CONTRACT_EXAMPLES="200",
        SHARE="1",
    ),
    _suite(
        "flood",
        10,
        "1,000,000 requests without a valid key hide no caller and do not fill the log",
        *(*_PARALLEL, "tests/keyledger/log/test_anonymous_flood.py"),
        FLOOD="1000000",
    ),
    _suite(
        "verifiers",
        15,
        "verifiers that others wrote agree on 10,000 random bundles",
        *(*_PARALLEL, "tests/keyledger/evidence/test_foreign_verifiers.py"),
        STRANGE_BUNDLES="10000",
    ),
    _suite(
        "forgeries",
        30,
        "1,000 forgeries are found by a service and its commands",
        *(*_PARALLEL, "tests/forgeries"),
        FORGERIES="1000",
    ),
    Part(
        "suite-pooler",
        10,
        "10,000 calls through PgBouncer in each of its configurations are right",
        pgbouncer_missing,
        partial(_run, ("-m", "pooler", "tests/e2e"), {"POOLER_CALLS": "10000"}),
        quick=False,
        only_long=True,
    ),
)
