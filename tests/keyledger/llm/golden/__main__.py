"""Records the requests again, or compares the present LiteLLM with what is recorded.

    python -m tests.keyledger.llm.golden --write    after a change that is meant
    python -m tests.keyledger.llm.golden            prints each difference; exit code 1 if there are any

`make litellm-diff VERSION=1.110.2` does the second with another release of LiteLLM.
"""

import asyncio
import importlib.metadata
import json
import os
import sys
from itertools import chain, takewhile

from keyledger.llm.adapters.environment import cleanse
from keyledger.llm.adapters.litellm import LiteLLMAdapter
from keyledger.settings.start_environment import StartEnvironment
from tests.keyledger.llm.golden.requests import recorded
from tests.support.places import REPOSITORY

AROUND = 40
"""Characters that are shown before a difference."""
FILE = REPOSITORY / "tests" / "golden" / "calls" / "requests.jsonl"


def main(arguments: list[str]) -> int:
    cleanse(StartEnvironment(os.environ))
    asyncio.run(LiteLLMAdapter().warm_up())
    lines = [json.dumps([name, sent]) for name, sent in recorded()]
    if arguments == ["--write"]:
        FILE.parent.mkdir(exist_ok=True)
        FILE.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return 0
    known = FILE.read_text(encoding="utf-8").splitlines()
    before, after = dict(map(json.loads, known)), dict(map(json.loads, lines))
    changed = [name for name in chain(before, set(after) - set(before)) if before.get(name) != after.get(name)]
    for name in changed:
        print(name, *_around_difference(str(before.get(name)), str(after.get(name))), sep="\n  ")
    version = importlib.metadata.version("litellm")
    print(f"LiteLLM {version}: {len(after) - len(changed)} of {len(after)} requests are as recorded")
    return bool(changed)


def _around_difference(before: str, after: str) -> list[str]:
    """Return what is around the first difference of two texts."""
    alike = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(before, after, strict=False)))
    shown = slice(max(0, alike - AROUND), alike + 2 * AROUND)
    return [f"was ...{before[shown]}", f"is  ...{after[shown]}"]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
