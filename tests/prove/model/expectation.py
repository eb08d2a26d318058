"""The answers that the service has to give, kept outside it: every credential with all its versions, in plain values.

Promises: no code of the service is used, so an error there is not repeated here.
"""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field

Place = tuple[str, str]
"""A tenant and a provider."""

SET, REPLACED, DELETED, REENCRYPTED = "set", "replaced", "deleted", "reencrypted"


@dataclass(frozen=True)
class Version:
    """One version. key: "" after a deletion. sealed_by: the encryption key. request: the id of the request."""

    action: str
    key: str
    sealed_by: str
    request: str


@dataclass(frozen=True)
class Done:
    """An acknowledged command with an Idempotency-Key. key: "" for a deletion. version: as it was answered."""

    place: Place
    key: str
    idempotency: str
    version: int


@dataclass
class Expectation:
    """The credentials of some tenants, and the commands that may be repeated."""

    versions: dict[Place, list[Version]] = field(default_factory=dict)
    done: list[Done] = field(default_factory=list)

    def of(self, place: Place) -> Sequence[Version]:
        """Every version of a credential, the first one first."""
        return self.versions.get(place, [])

    def version(self, place: Place) -> int:
        """The present version; 0 for a credential that never was."""
        return len(self.of(place))

    def key(self, place: Place) -> str:
        """The key in effect, "" for none."""
        return self.of(place)[-1].key if self.of(place) else ""

    def live_version_at(self, place: Place, count: int) -> int | None:
        """The version in effect after the first `count` versions; None if there was no credential."""
        return count if count and self.of(place)[count - 1].key else None

    def set(self, place: Place, key: str, sealed_by: str, request: str) -> None:
        """Note that a key was set. The same key again changes nothing."""
        if key != self.key(place):
            self._add(place, Version(REPLACED if self.key(place) else SET, key, sealed_by, request))

    def delete(self, place: Place, request: str) -> None:
        """Note that a credential was deleted."""
        self._add(place, Version(DELETED, "", "", request))

    def rotate(self, primary: str) -> None:
        """Note that everything live is sealed under a key now."""
        for place, versions in self.versions.items():
            last = versions[-1]
            if last.key and last.sealed_by != primary:
                self._add(place, Version(REENCRYPTED, last.key, primary, ""))

    def copy(self) -> "Expectation":
        """A copy that later changes leave as it is."""
        return deepcopy(self)

    def _add(self, place: Place, version: Version) -> None:
        self.versions.setdefault(place, []).append(version)
