"""The Python entry for backends that call models themselves instead of over HTTP.

    async with in_process() as ledger:
        answer = await ledger.complete(tenant_id, "gpt-4o", [{"role": "user", "content": "hello"}], temperature=0)

Promises: the same settings, resolution, isolation and errors as the HTTP interface; nothing is cached between calls.
Provider keys are removed from the environment of the process, as when the service starts, because libraries that load
later would use them.
"""

import os
from collections.abc import AsyncIterator, Mapping, MutableMapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from domain.calls.models import Answer, AnswerStream
from keyledger.assembly.compose import Service, service_from_environment
from keyledger.settings.start_environment import StartEnvironment

Message = Mapping[str, object]


class InProcess:
    """Calls models as a tenant, on the event loop that opened it."""

    def __init__(self, service: Service) -> None:
        self._models = service.models

    async def complete(
        self, tenant_id: str, model: str, messages: Sequence[Message], **params: object
    ) -> Answer | AnswerStream:
        """Complete a chat with the tenant's key, or with the global one where the rules allow it.

        tenant_id: canonical UUID. model: a name in the catalogue. messages and params: as in OpenAI's chat completions.
        With stream=True the answer is a stream of chunks; close it with `aclose` unless it is read to its end. Both
        kinds of answer carry a receipt that says whose key was used. Raises ServiceError.
        """
        return await self._models.complete(tenant_id, model, {"model": model, "messages": [*messages], **params})

    async def embed(self, tenant_id: str, model: str, texts: Sequence[str], **params: object) -> Answer:
        """Compute embeddings of `texts`. Arguments and errors as in `complete`."""
        return await self._models.embed(tenant_id, model, {"model": model, "input": [*texts], **params})


@asynccontextmanager
async def in_process(
    environ: MutableMapping[str, str] = os.environ, dotenv: Path | None = Path(".env")
) -> AsyncIterator[InProcess]:
    """Open the ledger that the settings describe; it is closed when the block ends.

    Raises SettingsError, StartError and StoreUnavailableError.
    """
    service = service_from_environment(StartEnvironment(environ), dotenv)
    try:
        await service.parts.start()
        try:
            yield InProcess(service)
        finally:
            await service.parts.stop()
    finally:
        service.close()
