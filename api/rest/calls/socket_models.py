"""The models of a WebSocket of a caller whose scope is limited to models.

The query names the model, and a client may name others in its messages, such as that of a transcription.
Promises: a caller limited to models opens a WebSocket only with one model in the query and nothing else there, and each
model that a message of its names is within its scope, wherever the message names it. Names are those of the provider;
one that the catalogue has for another model does not count. Messages of such a caller are JSON objects with one meaning
for every parser. Other callers' messages are not read.
Refuses: callers with budgets, since what a WebSocket uses is not counted; Azure's WebSockets for a caller limited to
models, since the deployment, and so the model, is that of the credential.
"""

import asyncio
import re
from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import unquote

from api.front.callers import RequestAdmission
from api.front.json_body import PARSED_INLINE_MAX, parse_bounded
from domain.access.admission import require_within
from domain.access.scope import Wanted
from domain.calls.models import LanguageModels
from domain.calls.web_socket import Message, uncounted
from domain.credentials.providers import Dialect, Provider
from domain.errors import InvalidField, InvalidRequestError, NotFoundError

_QUERY = re.compile(r"model=((?:[A-Za-z0-9._:/@+-]|%2F|%3A|%40)+)")
_SEVERAL = frozenset({"models", "fallbacks"})


class SocketModels:
    """The models of one WebSocket. wanted: what opening it asks for; without a model where the query names none."""

    def __init__(
        self,
        wanted: Wanted,
        query: str,
        provider: Provider,
        models: LanguageModels,
        admission: RequestAdmission | None,
    ) -> None:
        """wanted: without a model. query: as it was sent."""
        self._provider = provider
        self._models = models
        self._admission = admission
        found = None if provider.dialect is Dialect.AZURE else _QUERY.fullmatch(query)
        self.wanted = replace(wanted, model=self._within_catalogue(unquote(found[1])) if found else None)

    async def check(self, message: Message) -> None:
        """Raise AccessError, InvalidRequestError or HttpError for a message that the caller may not send."""
        caller = self._admission.caller if self._admission is not None else None
        if self._admission is not None and self._admission.is_budgeted:  # since the socket was opened
            raise uncounted()
        if caller is None or caller.terms.scope.models is None:
            return
        if not message.text:
            raise _not_json()
        inline = len(message.data) <= PARSED_INLINE_MAX
        body = parse_bounded(message.data) if inline else await asyncio.to_thread(parse_bounded, message.data)
        if not isinstance(body, dict):
            raise _not_json()
        for name in _models_in(body):
            wanted = replace(self.wanted, model=self._within_catalogue(name))
            # The address was checked when the socket was opened, and is again while it is open.
            require_within(replace(caller.terms.scope, networks=None), wanted)

    def _within_catalogue(self, name: str) -> str | None:
        """Return a model's name, unless the catalogue has it for a model that the provider calls otherwise."""
        try:
            known = self._models.model(name)
        except NotFoundError:
            return name
        return name if (known.provider, known.upstream_name) == (self._provider.name, name) else None


def _models_in(value: object) -> Iterator[str]:
    """Yield each text in a member that a server may take for a model. Raises InvalidRequestError."""
    level = [value]
    while level:
        below: list[object] = []
        for item in level:
            if isinstance(item, dict):
                for name, member in item.items():
                    read_as = name.strip().casefold()
                    if read_as in _SEVERAL:
                        raise InvalidRequestError([InvalidField(read_as, "is not open to a caller limited to models")])
                    if read_as == "model" and isinstance(member, str):
                        yield member
                below += item.values()
            elif isinstance(item, list):
                below += item
        level = below


def _not_json() -> InvalidRequestError:
    rule = "must be a JSON object in a text message, from a caller limited to models"
    return InvalidRequestError([InvalidField("the message", rule)])
