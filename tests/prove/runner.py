"""Runs parts one after the other and prints one line for each.

Promises: a part that raises counts as one that found something. The folder of a part is removed, unless it found
something: then its path is printed, with the ledger and the logs in it. Ctrl-C and SIGTERM end the part that runs, and
the last line says what was done. Each part has random numbers of its own, from the seed and its name, so one part alone
repeats what it did among others.
"""

import random
import shutil
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from tests.prove.part import Counts, Part, Scale

_TICK_S = 1.0
_NAMED = 18
INTERRUPTED = 130
"""The exit code after Ctrl-C, as shells have it."""


class Runner:
    """One run. out: where the lines go; a terminal also shows which part runs and for how long."""

    def __init__(self, scale: Scale, seed: int, out: TextIO) -> None:
        self._scale = scale
        self._seed = seed
        self._out = out
        self._faulty = 0

    def run(self, parts: Sequence[Part]) -> int:
        """Run them; return the exit code."""
        self._say(f"seed {self._seed}, {self._scale.value}: {len(parts)} parts")
        began, done, missing = time.monotonic(), 0, 0
        interrupted, name = False, ""
        try:
            for part in parts:
                name = part.name
                if lacking := part.needs():
                    missing += 1
                    self._say(f"{part.name:{_NAMED}} not run: {lacking}")
                    continue
                self._run_one(part)
                done += 1
        except (KeyboardInterrupt, SystemExit):
            interrupted = True
            self._say(f"{name:{_NAMED}} interrupted")
        words = [f"{done} of {len(parts)} parts run"]
        words += [f"{missing} not run"] if missing else []
        words += ["interrupted"] if interrupted else []
        words += [f"{self._faulty} found something: not proved" if self._faulty else "nothing found"]
        self._say(f"{', '.join(words)}; {time.monotonic() - began:.0f} s, seed {self._seed}")
        return INTERRUPTED if interrupted else int(bool(self._faulty))

    def _run_one(self, part: Part) -> None:
        folder = Path(tempfile.mkdtemp(prefix=f"keyledger-prove-{part.name}-"))
        folder.chmod(0o755)  # servers that run as another account have to enter it
        began, keep = time.monotonic(), False
        try:
            with self._shown(part):
                counts = self._counts(part, folder)
            keep = bool(counts.faults)
        finally:
            if not keep:
                shutil.rmtree(folder, ignore_errors=True)
        verdict = "FOUND" if counts.faults else "ok"
        self._say(f"{part.name:{_NAMED}} {verdict:5} {counts}  {time.monotonic() - began:.0f} s")
        for sentence in counts.faults:
            self._say(f"    {sentence}")
        if keep:
            self._faulty += 1
            self._say(f"    its files are in {folder}; `--seed {self._seed} {part.name}` runs it again")

    def _counts(self, part: Part, folder: Path) -> Counts:
        try:
            return part.run(self._scale, random.Random(f"{self._seed} {part.name}"), folder)
        except Exception:  # noqa: BLE001 - whatever it is, the other parts are to run
            (folder / "traceback").write_text(traceback.format_exc(), encoding="utf-8")
            counts = Counts()
            counts.faults.append(f"the part itself failed: {traceback.format_exc(limit=-1).strip()}")
            return counts

    def _say(self, line: str) -> None:
        print(line, file=self._out, flush=True)

    @contextmanager
    def _shown(self, part: Part) -> Iterator[None]:
        """Show the part and its seconds while the block runs, on a terminal only."""
        if not self._out.isatty():
            yield
            return
        ended, began = threading.Event(), time.monotonic()

        def show() -> None:
            while not ended.wait(_TICK_S):
                line = f"\r{part.name}: {time.monotonic() - began:.0f} s of about {part.minutes * 60:.0f}\033[K"
                print(line, end="", file=self._out, flush=True)

        shower = threading.Thread(target=show, daemon=True)
        shower.start()
        try:
            yield
        finally:
            ended.set()
            shower.join()
            print("\r\033[K", end="", file=self._out, flush=True)
