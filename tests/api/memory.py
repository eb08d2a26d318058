"""The domain's ports in memory, for tests of the HTTP interface alone. They keep the ports' promises and check them."""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from threading import Lock
from uuid import UUID, uuid4

from domain.audit import Action, AuditEntry, AuditFilter
from domain.credential import Credential, CredentialSet, evolve, stream_id
from domain.errors import (
    CredentialIntegrityError,
    FieldFault,
    InvalidRequest,
    StoreUnavailable,
    UnknownModel,
    UnreadableCredential,
    VersionConflict,
)
from domain.event import Event
from domain.llm import Adapter, Answer, AnswerStream, Json, Model, ModelKind
from domain.resolution import Head, Receipt, Route, Source, Stored
from domain.secret import SealContext, SealedSecret, Secret


class VaultSealer:
    """Seals by putting the secret away: its token is a random name, its binding is the place where it may be used."""

    primary_id = "k0000000001"

    def __init__(self) -> None:
        self._vault: dict[str, Secret] = {}

    def seal(self, secret: Secret, context: SealContext) -> SealedSecret:
        token = f"token-{uuid4()}"
        self._vault[token] = secret
        return SealedSecret(token, repr(context), "k0123456789")

    def open(self, sealed: SealedSecret, context: SealContext) -> Secret:
        if sealed.binding != repr(context):
            raise CredentialIntegrityError("binding")
        if sealed.token not in self._vault:
            raise UnreadableCredential(sealed.key_id, "unknown-key")
        return self._vault[sealed.token]

    def is_readable(self, sealed: SealedSecret, context: SealContext) -> bool:
        return sealed.binding == repr(context) and sealed.token in self._vault

    def lose_all(self) -> None:
        """Forget every secret, as if the encryption key were gone."""
        self._vault.clear()


class MemoryStore:
    """One list of events that is log, current view and audit trail."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.down = False
        self._lock = Lock()

    def last(self, stream: UUID) -> Event | None:
        self._answer()
        return next((event for event in reversed(self.events) if event.originator_id == stream), None)

    def find(self, stream: UUID, command_id: str) -> Event | None:
        self._answer()
        own = (event for event in self.events if event.originator_id == stream)
        return next((event for event in own if event.command_id == command_id), None)

    def append(self, events: Sequence[Event]) -> None:
        with self._lock:
            for event in events:
                last = self.last(event.originator_id)
                version = last.originator_version if last else 0
                if event.originator_version != version + 1:
                    raise VersionConflict(version, precondition=False)
                self.events.append(event)

    def read(self, tenant_id: str, provider: str) -> Stored:
        last = self.last(stream_id(tenant_id, provider))
        return Stored(evolve(last), Head(last.originator_version, last.TOPIC)) if last else Stored(None, None)

    def of_tenant(self, tenant_id: str) -> Sequence[Stored]:
        self._answer()
        providers = sorted({state.provider for state in map(evolve, self.events) if state.tenant_id == tenant_id})
        found = [self.read(tenant_id, provider) for provider in providers]
        return [stored for stored in found if stored.row is not None and stored.row.sealed is not None]

    def entries(self, wanted: AuditFilter) -> Sequence[AuditEntry]:
        self._answer()
        rows = [self._entry(position, event) for position, event in enumerate(self.events, start=1)]
        return [row for row in rows if _fits(row, wanted)][: wanted.limit]

    def _entry(self, position: int, event: Event) -> AuditEntry:
        state = evolve(event)
        return AuditEntry(
            position,
            event.timestamp,
            self._action(position, event),
            state.tenant_id,
            state.provider,
            event.originator_version,
            event.actor,
            event.request_id,
            event.command_id,
            state.masked_key,
            state.sealed.key_id if state.sealed else None,
            {},
        )

    def _action(self, position: int, event: Event) -> Action:
        if not isinstance(event, CredentialSet):
            return Action.DELETED
        earlier = [one for one in self.events[: position - 1] if one.originator_id == event.originator_id]
        return Action.REPLACED if earlier and isinstance(earlier[-1], CredentialSet) else Action.SET

    def _answer(self) -> None:
        if self.down:
            raise StoreUnavailable


def _fits(row: AuditEntry, wanted: AuditFilter) -> bool:
    return (
        row.position > wanted.after
        and wanted.tenant_id in {None, row.tenant_id}
        and wanted.provider in {None, row.provider}
        and wanted.actor in {None, row.actor}
        and (wanted.since is None or row.timestamp >= wanted.since)
        and (wanted.until is None or row.timestamp < wanted.until)
    )


GPT = Model("gpt-4o", ModelKind.COMPLETION, "openai", Adapter.LITELLM, "gpt-4o")
EMBEDDER = Model("text-embedding-3-small", ModelKind.EMBEDDING, "openai", Adapter.LITELLM, "text-embedding-3-small")
TENANT_RECEIPT = Receipt(Source.TENANT, "openai", 3, "k0123456789")
GLOBAL_RECEIPT = Receipt(Source.GLOBAL, "openai")
CHAT_ANSWER = {"id": "chatcmpl-1", "object": "chat.completion", "choices": []}


class Chunks:
    """A stream of chunks that knows whether it was closed. An exception among the chunks is raised in its place."""

    def __init__(self, *items: Json | Exception) -> None:
        self._items = iter(items)
        self.closed = 0

    def __aiter__(self) -> AsyncIterator[Json]:
        return self

    async def __anext__(self) -> Json:
        item = next(self._items, None)
        if item is None:
            raise StopAsyncIteration
        if isinstance(item, Exception):
            raise item
        return item

    async def aclose(self) -> None:
        self.closed += 1


@dataclass
class ScriptedModels:
    """A catalogue of two models whose answers a test sets. `calls`: tenant, model and params as they came."""

    outcome: Callable[[], Answer | AnswerStream] = lambda: Answer(TENANT_RECEIPT, CHAT_ANSWER)
    route: Callable[[], Route] = lambda: Route(TENANT_RECEIPT, "https://api.openai.com/v1", False, None, None, None)
    calls: list[tuple[str, str, Json]] = field(default_factory=list)

    def models(self) -> Sequence[Model]:
        return [GPT, EMBEDDER]

    def model(self, name: str) -> Model:
        for model in self.models():
            if model.name == name:
                return model
        raise UnknownModel("ai_models.yml")

    async def explain(self, tenant_id: str, model: str) -> Route:
        return self.route()

    async def complete(self, tenant_id: str, model: str, params: Json) -> Answer | AnswerStream:
        self.calls.append((tenant_id, model, params))
        messages = params.get("messages")
        if not isinstance(messages, list) or not messages or not all(isinstance(one, dict) for one in messages):
            raise InvalidRequest([FieldFault("messages", "must be a list of objects")])
        return self.outcome()

    async def embed(self, tenant_id: str, model: str, params: Json) -> Answer:
        self.calls.append((tenant_id, model, params))
        if not isinstance(params.get("input"), str | list):
            raise InvalidRequest([FieldFault("input", "must be a text or a list")])
        answer = self.outcome()
        assert isinstance(answer, Answer)
        return answer


def state_of(store: MemoryStore, tenant_id: str, provider: str) -> Credential | None:
    """Return the live credential as the log has it."""
    return store.read(tenant_id, provider).current()
