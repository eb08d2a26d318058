"""Runs the benchmarks.

python -m benchmarks                    all of them
python -m benchmarks resolve put        some
python -m benchmarks --write resolve    and put the result into benchmarks/results.md
python -m benchmarks --quick            only see that every part runs; the figures mean nothing
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from benchmarks import append, chat, credentials_http, fairness, footprint, growth, report, resolve, transparency
from benchmarks.frame import QUICK, Scale, Section, UnusableError
from keyledger.serving.signals import orderly_end

BENCHMARKS: Mapping[str, Callable[[Scale, Path], Section]] = {
    "resolve": resolve.run,
    "append": append.run,
    "put": credentials_http.run_put,
    "list": credentials_http.run_list,
    "chat": chat.run_chat,
    "passthrough": chat.run_pass_through,
    "footprint": footprint.run,
    "fairness": fairness.run,
    "growth": growth.run,
    "transparency": transparency.run,
}
PROGRAMS: Mapping[str, tuple[str, ...]] = {
    "rotation": ("--credentials", "200", "--rounds", "1"),
    "replay": ("--events", "1000"),
    "evidence": ("--records", "1000"),
}
"""Benchmarks that print their own tables, with what makes them quick."""


def main() -> int:
    """Run what was asked for. Returns 1 when something could not be measured; a goal that is missed is a result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="name", help=", ".join([*BENCHMARKS, *PROGRAMS]))
    parser.add_argument("--quick", action="store_true", help="only see that every part runs")
    parser.add_argument("--write", action="store_true", help="put the results into benchmarks/results.md")
    parser.add_argument("--rounds", type=int, help="rounds of each contestant")
    parser.add_argument("--seconds", type=float, help="seconds for each contestant in a round")
    parser.add_argument("--calls", type=int, help="calls after which memory is looked at")
    parser.add_argument("--stored", type=int, nargs="+", help="numbers of stored credentials, the least first")
    given = parser.parse_args()
    unknown = set(given.names) - set(BENCHMARKS) - set(PROGRAMS)
    if unknown:
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join([*BENCHMARKS, *PROGRAMS])}")
    scale = QUICK if given.quick else Scale()
    scale = replace(
        scale,
        rounds=given.rounds or scale.rounds,
        seconds=given.seconds or scale.seconds,
        calls=given.calls or scale.calls,
        stored=tuple(given.stored or scale.stored),
    )
    print(report.setting())
    failed = False
    with orderly_end():  # else SIGTERM would leave the servers running
        for name in given.names or [*BENCHMARKS, *PROGRAMS]:
            failed |= not (_measure(name, scale, write=given.write) if name in BENCHMARKS else _run(name, scale))
    return int(failed)


def _measure(name: str, scale: Scale, *, write: bool) -> bool:
    with tempfile.TemporaryDirectory(prefix="bench") as folder:
        try:
            section = BENCHMARKS[name](scale, Path(folder))
        except UnusableError as why:
            print(f"{name} could not be measured: {why}", file=sys.stderr)
            return False
    report.show(section)
    if write and not scale.quick:
        report.RESULTS.write_text(report.written(report.RESULTS.read_text(), [section]))
    return True


def _run(name: str, scale: Scale) -> bool:
    arguments = PROGRAMS[name] if scale.quick else ()
    return subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *arguments], check=False).returncode == 0


if __name__ == "__main__":
    sys.exit(main())
