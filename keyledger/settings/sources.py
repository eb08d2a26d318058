"""Reads settings from the process environment first, then from a `.env` file. Nothing else reads either.

Promises: setting by setting, the environment wins over the file; a blank value counts as not set; `NAME_FILE` names a
file that contains the value of a secret; every error is collected, so that one start shows all of them. Each setting is
remembered with its source, in a form that may be shown.
Refuses: a secret given both directly and as a file, two spellings of one setting with different values, lines of `.env`
that are not assignments, an API key in a setting that is not for keys, which would be shown, sent and stored in clear.
No error text repeats a value: a mistyped one may be a secret.
"""

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path

from dotenv.parser import parse_stream

from domain.credentials.key_shapes import holds_key, masked
from domain.credentials.secret import Secret

FILE_MAX = 64 * 1024
SUPER_KEY_ALSO = ("INTRIC_SUPER_API_KEY", "ENEO_SUPER_API_KEY")
"""Other spellings of SUPER_API_KEY that are accepted."""
DOTENV = ".env"
NOT_SET = "not set"
DEFAULT = "default"
_NEARLY = 0.92
"""Names at least this similar, from 0 to 1, are taken for misspellings of each other."""

_YES, _NO = frozenset({"true", "1", "yes"}), frozenset({"false", "0", "no"})


@dataclass(frozen=True, slots=True)
class Resolved:
    """One resolved setting. `shown` is safe to print; `source` says where it comes from; `value` is for comparing."""

    name: str
    shown: str
    source: str
    value: Secret | None = field(default=None, repr=False)


class Sources:
    """Reads settings by name and collects `errors`, `warnings` and what was `resolved`."""

    def __init__(self, environ: Mapping[str, str], dotenv: Path | None) -> None:
        self.errors: list[str] = []
        self.warnings: list[str] = []
        self.resolved: list[Resolved] = []
        self.secret_files: dict[str, Path] = {}
        self._layers = (("environment", environ), (DOTENV, self._dotenv(dotenv) if dotenv else {}))

    def text(self, name: str, default: str | None = None, *, also: Sequence[str] = ()) -> str | None:
        """Return a setting without surrounding white space, or `default`. also: other accepted spellings of `name`."""
        for source, layer in self._layers:
            given = {spelling: value for spelling in (name, *also) if (value := layer.get(spelling, "").strip())}
            if given:
                self._refuse_difference(name, given)
                spelling, value = next(iter(given.items()))
                self._remember(name, value, source if spelling == name else f"{source} ({spelling})", Secret(value))
                if holds_key(value):
                    self.error(name, "must not hold an API key or a password: this setting is shown in clear")
                    return default
                return value
        self._remember(name, default or "", DEFAULT if default else NOT_SET)
        return default

    def choice(self, name: str, allowed: Sequence[str], default: str) -> str:
        """Return one of `allowed`, in lower case."""
        value = (self.text(name, default) or default).lower()
        if value not in allowed:
            self.error(name, f"must be one of: {', '.join(allowed)}")
            return default
        return value

    def switch(self, name: str, *, default: bool) -> bool:
        """Return a boolean setting."""
        value = (self.text(name, str(default).lower()) or "").lower()
        if value not in _YES | _NO:
            self.error(name, "must be true or false (or 1, 0, yes, no)")
            return default
        return value in _YES

    def whole(self, name: str, default: int, least: int, most: int) -> int:
        """Return a whole number from `least` to `most`."""
        text = self.text(name, str(default)) or ""
        if not (text.isascii() and text.isdigit() and len(text) < 12 and least <= int(text) <= most):
            self.error(name, f"must be a whole number from {least} to {most}")
            return default
        return int(text)

    def secret(self, name: str, *, also: Sequence[str] = (), shown: Callable[[Secret], str]) -> Secret | None:
        """Return a secret given as `name`, as one of the spellings `also`, or in a file named by `..._FILE`.

        shown: returns the form that may be printed.
        """
        for source, layer in self._layers:
            given = [found for spelling in (name, *also) if (found := self._given(spelling, layer))]
            if not given:
                continue
            value, spelling = given[0]
            self._refuse_difference(name, {spelling: value for value, spelling in given})
            secret = Secret(value) if value else None
            shown_value = shown(secret) if secret else "cannot be read"
            self._remember(name, shown_value, source if spelling == name else f"{source} ({spelling})", secret)
            return secret
        self._remember(name, "", NOT_SET)
        return None

    def is_set(self, name: str) -> bool:
        """Say whether a setting, which was read before, is set and not a default."""
        return any(one.name == name and one.source not in {NOT_SET, DEFAULT} for one in self.resolved)

    def error(self, name: str, rule: str) -> None:
        """Record an error of a setting. rule: what is wrong and how to fix it."""
        self.errors.append(f"{name}: {rule}")

    def warn(self, name: str, text: str) -> None:
        """Record a note about a setting that does not prevent a start."""
        self.warnings.append(f"{name}: {text}")

    def warn_of_misspelt(self) -> None:
        """Warn of names that look like misspelt settings. Call it after every setting was read."""
        known = {one.name for one in self.resolved}
        accepted = known | {f"{name}_FILE" for name in known}
        for source, layer in self._layers:
            for name in sorted(set(layer) - accepted):
                if meant := get_close_matches(name, known, 1, _NEARLY):
                    self.warn(name, f"in {source} is not a setting; did you mean {meant[0]}?")

    def show_as(self, name: str, shown: str) -> None:
        """Change how a setting is shown, once it was parsed."""
        safe = masked(shown)
        self.resolved = [replace(one, shown=safe) if one.name == name else one for one in self.resolved]

    def _remember(self, name: str, shown: str, source: str, value: Secret | None = None) -> None:
        self.resolved.append(Resolved(name, masked(shown), source, value))

    def _refuse_difference(self, name: str, given: Mapping[str, str]) -> None:
        """given: the values by spelling."""
        if len(set(given.values())) > 1:
            self.error(name, f"is set as {' and as '.join(given)} with different values; keep one of them")

    def _given(self, spelling: str, layer: Mapping[str, str]) -> tuple[str, str] | None:
        """Return the value, blank if its file is invalid, and the spelling that gave it; None if it is not set."""
        value, path = layer.get(spelling, "").strip(), layer.get(f"{spelling}_FILE", "").strip()
        if value and path:
            self.error(spelling, f"is set both directly and by {spelling}_FILE; keep one of them")
        if value:
            return value, spelling
        if not path:
            return None
        self.secret_files[f"{spelling}_FILE"] = Path(path)
        return self._content(f"{spelling}_FILE", Path(path)), f"{spelling}_FILE"

    def _content(self, name: str, path: Path) -> str:
        text = self._read(name, path, FILE_MAX)
        if text is not None and not text.strip():
            self.error(name, "the file is empty; write the value into it")
        return (text or "").strip()

    def _read(self, name: str, path: Path, limit: int, *, optional: bool = False) -> str | None:
        try:
            with path.open("rb") as file:
                content = file.read(limit + 1)
            text = content.decode("utf-8-sig")
        except (OSError, UnicodeDecodeError, ValueError) as problem:
            if not (optional and isinstance(problem, FileNotFoundError)):
                self.error(name, f"the file cannot be read ({_reason(problem)})")
            return None
        if len(content) > limit:
            self.error(name, f"the file has more than {limit // 1024} KiB")
            return None
        return text

    def _dotenv(self, path: Path) -> dict[str, str]:
        """Return the assignments of a `.env` file, `$` taken literally; none when there is no such file."""
        text = self._read(str(path), path, 16 * FILE_MAX, optional=True)
        values: dict[str, str] = {}
        for line in parse_stream(io.StringIO(text or "")):
            if line.error:
                self.error(str(path), f"line {line.original.line} is not NAME=value; quote values that span lines")
            elif line.key is not None and line.value is not None:
                values[line.key] = line.value
        return values


def _reason(problem: OSError | ValueError) -> str:
    if isinstance(problem, OSError):
        return problem.strerror or "no reason given"
    return "not UTF-8 text" if isinstance(problem, UnicodeDecodeError) else "not a file name"


def items_of(listed: str) -> list[str]:
    """Return the items of a list that is separated by commas, white space or both."""
    return [item for part in listed.split(",") for item in part.split()]


def hidden(secret: Secret) -> str:
    """Return what is shown of the service's own secrets: nothing, since the end of a short one would be half of it."""
    del secret
    return "***"
