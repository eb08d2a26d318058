"""Shows that what KeyLedger promises holds while processes die, networks break and clocks lie.

python -m tests.prove                    the parts of the default run
python -m tests.prove failover network   some parts
python -m tests.prove --quick            a few minutes; --long: every part, with larger numbers, for hours
python -m tests.prove --seed 7           the random numbers of an earlier run

Prints one line for each part, with its counts and its seconds, and the seed. Exits with 1 if a part found something,
with 130 after Ctrl-C, with 0 otherwise. A part that lacks something on this machine is named with the reason.
"""

import argparse
import random
import sys
from collections.abc import Sequence

from keyledger.serving.signals import orderly_end
from tests.prove.part import Part, Scale
from tests.prove.parts import PARTS
from tests.prove.runner import Runner
from tests.support import memory, warmed
from tests.support.neutral import forget, hearing_ctrl_c, make_neutral


def main(arguments: Sequence[str], parts: Sequence[Part] = PARTS) -> int:
    """Run the parts that were asked for. Returns the exit code."""
    given = _parsed(arguments, parts)
    scale = Scale.QUICK if given.quick else Scale.LONG if given.long else Scale.WHOLE
    home, folder = make_neutral(), memory.take()
    try:
        with hearing_ctrl_c(), orderly_end():
            return Runner(scale, given.seed, sys.stdout).run(chosen(parts, scale, given.parts))
    finally:
        warmed.end()
        forget(home)
        if folder:
            memory.give_back(folder)


def chosen(parts: Sequence[Part], scale: Scale, names: Sequence[str]) -> list[Part]:
    """Return the parts of these names; without names, those of the scale."""
    if names:
        return [part for part in parts if part.name in names]
    if scale is Scale.QUICK:
        return [part for part in parts if part.quick]
    return [part for part in parts if scale is Scale.LONG or not part.only_long]


def _parsed(arguments: Sequence[str], parts: Sequence[Part]) -> argparse.Namespace:
    known = "\n".join(f"  {part.name:18} {part.minutes:4g} min  {part.says}" for part in parts)
    parser = argparse.ArgumentParser(
        prog="python -m tests.prove",
        description=__doc__,
        epilog=f"parts:\n{known}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("parts", nargs="*", metavar="part", help="run only these")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="the quick parts, with small numbers")
    size.add_argument("--long", action="store_true", help="every part, with large numbers")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    given = parser.parse_args(arguments)
    if unknown := set(given.parts) - {part.name for part in parts}:
        parser.error(f"no part {', '.join(sorted(unknown))}; there are {', '.join(part.name for part in parts)}")
    return given


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
