"""The places where a node keeps the anchor of its ledger: DATA_DIR, and ANCHOR_DIR where that is set.

Promises: a contradiction in either place counts. ANCHOR_DIR may be a share that is slow or gone: no access to it takes
longer than `PATIENCE_S`, and while it cannot be reached, `problem` says so and the last state seen there still counts.
Each place keeps what it knows in memory, so a removed file removes no knowledge from a running service.
Refuses: to create ANCHOR_DIR, because a missing folder is more likely a share that is not mounted than a new place.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from keyledger.log.anchors.anchor import Anchor, AnchorFile
from keyledger.log.anchors.log_state import Known
from keyledger.log.durable_file import UnreadableFileError

DATA_DIR, ANCHOR_DIR = "DATA_DIR", "ANCHOR_DIR"
PATIENCE_S = 2.0
"""Seconds that a read or a write in ANCHOR_DIR may take."""

T = TypeVar("T")
_log = logging.getLogger("keyledger.store")


class AnchorPlace:
    """The anchor in DATA_DIR, and what this process knows of it.

    problem: why the anchor is not recorded or compared there now, as text for `/readyz`; "" if it is.
    """

    setting = DATA_DIR

    def __init__(self, folder: Path) -> None:
        self.file = AnchorFile(folder)
        self.problem = ""
        self._on_file: Anchor | None = None
        self._seen: Anchor | None = None
        self._alone = threading.Lock()

    def known(self) -> Known | None:
        """Return the last known state: from the file if another process wrote it, otherwise from memory.

        Raises UnreadableFileError.
        """
        with self._alone:
            on_file = self._read()
            if on_file is not None and on_file != self._on_file:
                self._seen = on_file
            self._on_file = on_file
            return None if self._seen is None else Known(self.setting, self._seen)

    def keep(self, now: Anchor) -> None:
        """Remember a state that contradicts nothing, and write it if it is further along. Failures are noted."""
        if now.tree_root:  # otherwise the tree is damaged, which its follower and the signing report
            with self._alone:
                self._keep(now)

    def _keep(self, now: Anchor) -> None:
        if self._seen is None or now.covers(self._seen):
            self._seen = now
        if self._on_file is not None and self._on_file.covers(now):
            return
        try:
            self._write(now)
        except (OSError, UnreadableFileError):
            self._note(f"{self.setting} cannot be written: the end of the log is not recorded there")
        else:
            self._on_file = now
            self._note("")

    def replace(self, anchor: Anchor) -> None:
        """Write an anchor, whatever was there. Raises OSError."""
        self.file.replace(anchor)

    def require(self) -> None:
        """Raise OSError unless the place can be reached."""

    def _read(self) -> Anchor | None:
        return self.file.read()

    def _write(self, anchor: Anchor) -> None:
        self.file.advance(anchor)

    def _note(self, problem: str) -> None:
        if problem and problem != self.problem:
            _log.warning("%s", problem)
        self.problem = problem


class SharedAnchorPlace(AnchorPlace):
    """The anchor in ANCHOR_DIR, such as a share that all nodes of the ledger use."""

    setting = ANCHOR_DIR

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._busy: threading.Thread | None = None

    def replace(self, anchor: Anchor) -> None:
        """Write an anchor, whatever was there. Raises OSError."""
        self._within(lambda: self.file.replace(anchor))

    def require(self) -> None:
        """Raise OSError unless the place can be reached."""
        self._within(lambda: None)

    def _read(self) -> Anchor | None:
        try:
            found = self._within(self.file.read)
        except OSError:
            self._note("ANCHOR_DIR cannot be reached: the log is neither compared with it nor recorded there")
            return self._on_file
        if self.problem:
            _log.info("ANCHOR_DIR can be reached again")
            self.problem = ""
        return found

    def _write(self, anchor: Anchor) -> None:
        if not self.problem:  # the read before just failed
            self._within(lambda: self.file.advance(anchor))

    def _within(self, access: Callable[[], T]) -> T:
        """Return the result of an access in a thread of its own. Raises TimeoutError, FileNotFoundError."""
        if self._busy is not None and self._busy.is_alive():
            raise TimeoutError
        done: list[T] = []
        raised: list[BaseException] = []

        def run() -> None:
            try:
                if not self.file.path.parent.is_dir():
                    raise FileNotFoundError
                done.append(access())
            except BaseException as error:  # noqa: BLE001  raised again in the waiting thread
                raised.append(error)

        self._busy = threading.Thread(target=run, name="ANCHOR_DIR", daemon=True)
        self._busy.start()
        self._busy.join(PATIENCE_S)
        if raised:
            raise raised[0]
        if not done:
            raise TimeoutError
        return done[0]


def anchor_places(data_dir: Path, anchor_dir: Path | None) -> Sequence[AnchorPlace]:
    """Return the places of a node, DATA_DIR first."""
    here = AnchorPlace(data_dir)
    return [here] if anchor_dir is None else [here, SharedAnchorPlace(anchor_dir)]
