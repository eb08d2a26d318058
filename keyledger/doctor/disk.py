"""DATA_DIR: whether it can be written to, and how much space is free."""

import os
import shutil
from collections.abc import Iterator

from keyledger.doctor.circumstances import Circumstances
from keyledger.doctor.finding import Finding, fault, ok, warning

SUBJECT = "disk"
LITTLE, TOO_LITTLE = 2 << 30, 200 << 20
"""Bytes below which there is a warning, and below which it is a fault."""


def look(here: Circumstances) -> Iterator[Finding]:
    """Report the free space where DATA_DIR is, or will be."""
    folder = here.data_dir.absolute()
    present = next(place for place in (folder, *folder.parents) if place.exists())
    if not present.is_dir() or not os.access(present, os.W_OK | os.X_OK):
        said = f"{present} is not a folder that this account can write to; DATA_DIR is {folder}"
        yield fault(SUBJECT, said, f"ls -ld {present}")
        return
    free = shutil.disk_usage(present).free
    said = f"{free / (1 << 30):.1f} GiB are free for DATA_DIR ({folder})"
    if free < TOO_LITTLE:
        yield fault(SUBJECT, said, f"df -h {present}")
    elif free < LITTLE:
        yield warning(SUBJECT, said, f"df -h {present}")
    else:
        yield ok(SUBJECT, said)
