"""The environment as a process received it, with the secrets in it out of reach of everything but the settings.

Promises: once they were taken, no library of this process, no program that it starts and no reader of
`/proc/PID/environ` finds a key or a password of the settings; the settings still read them, at a reload too. `repr`
shows no value.
Refuses: to be pickled, except on the way to a worker process, which it reaches through a pipe.
"""

import os
import re
from collections.abc import Iterator, Mapping, MutableMapping

from domain.credentials.secret import Secret
from keyledger.process_memory import overwrite_variables

_SECRETS = re.compile(
    r"(.+_)?(API_KEY|AUTH_TOKEN|AD_TOKEN)|ENCRYPTION_KEY(_NEXT|_PREVIOUS)?|AUDIT_SIGNING_KEY|OIDC_CLIENT_SECRET|DATABASE(_ADMIN)?_URL",
    re.IGNORECASE,
)


class StartEnvironment(Mapping[str, str]):
    """The environment of the start. A variable that was set again since has its new value."""

    def __init__(self, environ: MutableMapping[str, str], taken: Mapping[str, str] | None = None) -> None:
        """environ: usually `os.environ`. taken: variables that another process took from its own environment."""
        self._environ = environ
        self._taken = {name: Secret(value) for name, value in (taken or {}).items()}

    def take(self, names: re.Pattern[str] = _SECRETS) -> None:
        """Remove variables from the environment and keep them here. names: matches the whole of their names."""
        found = [name for name in self._environ if names.fullmatch(name)]
        self._taken.update({name: Secret(self._environ[name]) for name in found})
        if self._environ is os.environ:
            overwrite_variables(found)
        for name in found:
            del self._environ[name]

    def __getitem__(self, name: str) -> str:
        return self._environ[name] if name in self._environ else self._taken[name].reveal()

    def __iter__(self) -> Iterator[str]:
        return iter({**self._taken, **self._environ})

    def __len__(self) -> int:
        return len({**self._taken, **self._environ})

    def __repr__(self) -> str:
        return f"<environment of {len(self)} variables>"

    def __reduce__(self) -> tuple[object, ...]:
        from multiprocessing.context import assert_spawning  # slow to load

        assert_spawning(self)
        return _received, ({name: secret.reveal() for name, secret in self._taken.items()},)


def _received(taken: Mapping[str, str]) -> StartEnvironment:
    return StartEnvironment(os.environ, taken)


OF_THIS_PROCESS = StartEnvironment(os.environ)
"""The environment that commands read settings from."""
