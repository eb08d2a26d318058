"""Changes settings in a `.env` file.

Promises: only the lines of the changed settings are touched; comments, order and everything else stay. The file keeps
its owner and mode, and a crash at any point leaves either the old file or the new one, whole.
Refuses: a result that a start would refuse; then all its errors are reported and nothing is changed. No text contains a
value.
"""

import os
import re
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from dotenv.parser import parse_stream

from keyledger.settings.settings import load
from keyledger.start_error import StartError

_PLAIN = re.compile(r"[A-Za-z0-9_./:,=+@%-]*")
"""Values that mean the same with and without quotes."""


def change_settings_file(path: Path, environ: Mapping[str, str], changes: Mapping[str, str | None]) -> None:
    """Change the values of settings in the file; None removes a setting.

    environ: the environment that a start would read with it. Raises SettingsError, StartError.
    """
    path = path.resolve()  # a link stays a link
    try:
        with path.open(encoding="utf-8", newline="") as present:
            before, its = present.read(), os.fstat(present.fileno())
        handle, draft_name = tempfile.mkstemp(prefix=f"{path.name}.", dir=path.parent)
    except (OSError, UnicodeDecodeError):
        raise StartError(
            f"{path.name} cannot be changed: it does not exist, or this account may not change it"
        ) from None
    draft = Path(draft_name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            file.write(changed_settings(before, changes))
            file.flush()
            os.fsync(file.fileno())
        _give_to(draft, its)
        load(environ, draft)
        draft.replace(path)
    finally:
        with suppress(OSError):
            draft.unlink()


def _give_to(draft: Path, its: os.stat_result) -> None:
    """Give a file the owner and the mode of another, so that the same accounts can read it."""
    mine = draft.stat()
    try:
        if (mine.st_uid, mine.st_gid) != (its.st_uid, its.st_gid):
            os.chown(draft, its.st_uid, its.st_gid)
    except PermissionError:
        raise StartError(".env belongs to another account or group: run this command as its owner") from None
    draft.chmod(its.st_mode & 0o7777)


def setting_in(path: Path, name: str) -> str | None:
    """Return the value of a setting in the file, or None."""
    with path.open(encoding="utf-8-sig") as file:
        return next((line.value for line in parse_stream(file) if line.key == name), None)


def changed_settings(text: str, changes: Mapping[str, str | None]) -> str:
    """Return the text of a `.env` file with other values. New settings are added at the end.

    Raises StartError if a setting stands on more than one line, or a value would need quotes.
    """
    for name, value in changes.items():
        if value is not None and not _PLAIN.fullmatch(value):
            raise StartError(f"{name}: its new value contains characters that are special in .env; set it by hand")
        line = re.compile(rf"^(?P<begin>[ \t]*(?:export[ \t]+)?){name}[ \t]*=[^\r\n]*(?P<end>\r?\n|$)", re.MULTILINE)
        found = list(line.finditer(text))
        if len(found) > 1:
            raise StartError(f"{name} is set more than once in .env; keep one of the lines")
        if value is None:
            text = line.sub("", text)
        elif found:
            text = line.sub(lambda one, name=name, value=value: f"{one['begin']}{name}={value}{one['end']}", text)  # type: ignore[misc]
        else:
            text = f"{text}{'' if not text or text.endswith(chr(10)) else chr(10)}{name}={value}\n"
    return text
