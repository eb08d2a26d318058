"""Which other accounts of this machine may read or change the files that settings and secrets come from.

Promises: every existing file is examined, with `.env` and the files of secrets as secret, and the files of providers
and identities, which decide where keys are sent and who is a caller, as ones that no one else may change. A file that
cannot be examined is left out: the settings report it. On Windows, which has no such modes, nothing is reported.
"""

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from keyledger.settings.settings import load_secret_files
from keyledger.settings.sources import Sources

_WRITE = stat.S_IWGRP | stat.S_IWOTH


@dataclass(frozen=True, slots=True)
class ExposedFile:
    """A file that other accounts may use. said: a sentence. serious: for every account. remedy: the command to run."""

    said: str
    serious: bool
    remedy: str


def exposed_files(environ: Mapping[str, str], dotenv: Path) -> Iterator[ExposedFile]:
    """Yield the files that other accounts may use. dotenv: the `.env` file, which need not exist."""
    if os.name != "posix":
        return
    secrets = {str(dotenv): dotenv, **load_secret_files(environ, dotenv)}
    for name, path in secrets.items():
        yield from _exposure(path, str(path) if name == str(path) else f"{path} ({name})", secret=True)
    for name, usual in (
        ("PROVIDERS_FILE", "providers.yml"),
        ("IDENTITY_FILE", "identity.yml"),
        ("PRICES_FILE", "prices.yml"),
    ):
        path = Path(Sources(environ, dotenv).text(name, usual) or "")
        yield from _exposure(path, f"{path} ({name})", secret=False)


def exposure_warnings(environ: Mapping[str, str], dotenv: Path) -> list[str]:
    """Return a warning for each of these files, with the command to run."""
    return [f"{one.said}; run: {one.remedy}" for one in exposed_files(environ, dotenv)]


def _exposure(path: Path, shown: str, *, secret: bool) -> Iterator[ExposedFile]:
    try:
        found = path.stat()
    except (OSError, ValueError):
        return
    mode, remedy = stat.S_IMODE(found.st_mode), f"chmod {600 if secret else 644} {path}"
    if mode & _WRITE:
        yield ExposedFile(f"{shown} can be written by other accounts ({mode:04o})", True, remedy)
    elif secret and mode & stat.S_IROTH:
        yield ExposedFile(f"{shown} can be read by every account ({mode:04o})", True, remedy)
    elif secret and mode & stat.S_IRGRP:
        yield ExposedFile(f"{shown} can be read by its group ({mode:04o})", False, remedy)
    if found.st_uid not in {0, os.geteuid()}:
        owned = f"{shown} belongs to another account (user id {found.st_uid}), which can change it"
        yield ExposedFile(owned, False, f"chown {os.geteuid()} {path}")
