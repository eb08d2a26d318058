"""The environment as a process received it, with the secrets in it out of reach of everything but the settings.

Promises: once they were taken, no library of this process, no program that it starts and no reader of
`/proc/PID/environ` finds a key or a password of the settings; the settings still read them, at a reload too. `repr`
shows no value.
Refuses: to be pickled or copied. The processes of a service are forked and have it with the memory.
"""

import os
import re
from collections.abc import Iterator, Mapping, MutableMapping
from typing import NoReturn

from domain.credentials.secret import Secret
from keyledger.process_memory import overwrite_variables

_SECRETS = re.compile(
    r"(.+_)?(API_KEY|AUTH_TOKEN|AD_TOKEN)|ENCRYPTION_KEY(_NEXT|_PREVIOUS)?|AUDIT_SIGNING_KEY|OIDC_CLIENT_SECRET|DATABASE(_ADMIN)?_URL",
    re.IGNORECASE,
)


class StartEnvironment(Mapping[str, str]):
    """The environment of the start. A variable that was set again since has its new value."""

    def __init__(self, environ: MutableMapping[str, str]) -> None:
        """environ: usually `os.environ`."""
        self._environ = environ
        self._taken: dict[str, Secret] = {}

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

    def __reduce__(self) -> NoReturn:
        raise TypeError("an environment holds secrets")


OF_THIS_PROCESS = StartEnvironment(os.environ)
"""The environment that commands read settings from."""
