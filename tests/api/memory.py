"""The domain's ports in memory, for tests of the HTTP interface alone. They keep the ports' promises and check them."""

import json
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import islice
from threading import Lock
from uuid import UUID, uuid4

from domain.audit.entries import OF_A_CREDENTIAL, AuditEntry, AuditFilter, action_of, facts_of
from domain.audit.events import Outcome
from domain.audit.leaf import leaf_of
from domain.audit.usage import UsageFilter, UsagePlace, UsageRecord
from domain.calls.models import Adapter, Answer, AnswerStream, Json, Model, ModelKind
from domain.calls.native import NativeAnswer, NativeCall
from domain.credentials.acceptance import AcceptanceEvent, CredentialRejected, acceptance_stream
from domain.credentials.credential import Credential, CredentialEvent, CredentialSet, evolve, stream_id
from domain.credentials.fleet import CredentialPlace, FleetFilter, Lodged
from domain.credentials.providers import BUILT_IN
from domain.credentials.recording import recordable
from domain.credentials.resolution import Receipt, Route, Source
from domain.credentials.secret import SealContext, SealedSecret, Secret
from domain.credentials.service import CredentialService
from domain.credentials.stored import CredentialStatus, Head, Stored
from domain.errors import (
    CredentialIntegrityError,
    InvalidField,
    InvalidRequestError,
    ProofNotFoundError,
    ReplayConflictError,
    ReplayNotFoundError,
    RotationNotFoundError,
    RotationRefusedError,
    ServiceError,
    StoreUnavailableError,
    UnknownModelError,
    UnknownProjectionError,
    UnreadableCredentialError,
    VersionConflictError,
)
from domain.event import Clock, CommandMeta, Event
from domain.event_codec import encode
from domain.operations.encryption_keys import RotationCounts
from domain.operations.replay import Difference, ProjectionStatus, RebuildResult, ReplayState, ReplayStatus, Swap
from domain.operations.rotation import KeyState, KeyStatus, RotationState, RotationStatus, Unopened
from domain.proofs.checkpoint import Checkpoint
from domain.proofs.merkle_tree import Node, consistency_proof, inclusion_proof, leaf_hash, root_of
from domain.proofs.proofs import Consistency, Inclusion, ProvenLeaf, SignedCheckpoint

START = datetime(2026, 1, 31, 12, tzinfo=UTC)

OPENAI = BUILT_IN["openai"]


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
            raise UnreadableCredentialError(sealed.key_id, "unknown-key")
        return self._vault[sealed.token]

    def check(self, sealed: SealedSecret, context: SealContext) -> None:
        self.open(sealed, context)

    def fingerprint(self, secret: Secret) -> str:
        return "f0123456789abcdef"

    def lose_all(self) -> None:
        """Forget every secret, as if the encryption key were gone."""
        self._vault.clear()


class MemoryStore:
    """One list of events that is log, current view and audit trail."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.usage = MemoryUsage()
        self.down = False
        self._lock = Lock()

    def last(self, stream: UUID) -> Event | None:
        self._answer()
        return next((event for event in reversed(self.events) if event.originator_id == stream), None)

    def find_all(self, wanted: Sequence[tuple[UUID, str]]) -> Mapping[tuple[UUID, str], Event]:
        self._answer()
        caused = {(event.originator_id, event.command_id): event for event in reversed(self.events)}
        return {one: caused[one] for one in wanted if one in caused}

    def append(self, events: Sequence[Event]) -> None:
        with self._lock:
            for event in events:
                last = self.last(event.originator_id)
                version = last.originator_version if last else 0
                if event.originator_version != version + 1:
                    raise VersionConflictError(version, precondition=False)
                self.events.append(recordable(event))

    def read(self, tenant_id: str, provider: str) -> Stored:
        last = self.last(stream_id(tenant_id, provider))
        if last is None:
            return Stored(None, None)
        said = self.last(acceptance_stream(tenant_id, provider))
        answered = isinstance(said, AcceptanceEvent) and said.credential_version == last.originator_version
        return Stored(
            evolve(last),
            Head(last.originator_version, last.TOPIC),
            rejected=answered and isinstance(said, CredentialRejected),
            answered=answered,
            last_used_at=self.usage.last(tenant_id, provider, self._set_version(last)),
        )

    def _set_version(self, last: Event) -> int:
        stream = [event for event in self.events if event.originator_id == last.originator_id]
        return max(event.originator_version for event in stream if isinstance(event, CredentialSet))

    def read_all(self, places: Sequence[tuple[str, str]]) -> Sequence[Stored]:
        return [self.read(*place) for place in places]

    def newest(self, streams: Sequence[UUID]) -> Mapping[UUID, Event]:
        found = {stream: self.last(stream) for stream in streams}
        return {stream: event for stream, event in found.items() if event is not None}

    def of_tenant(self, tenant_id: str) -> Sequence[Stored]:
        self._answer()
        own = (event for event in self.events if isinstance(event, CredentialEvent) and event.tenant_id == tenant_id)
        providers = sorted({event.provider for event in own})
        found = [self.read(tenant_id, provider) for provider in providers]
        return [stored for stored in found if stored.row is not None and stored.row.sealed is not None]

    def entries(self, wanted: AuditFilter) -> Sequence[AuditEntry]:
        self._answer()
        rows = [self._entry(position, event) for position, event in enumerate(self.events, start=1)]
        fitting = [row for row in rows if _fits(row, wanted)]
        return (fitting[::-1] if wanted.newest_first else fitting)[: wanted.limit]

    def _entry(self, position: int, event: Event) -> AuditEntry:
        facts = facts_of(event)
        earlier = [one for one in self.events[: position - 1] if one.originator_id == event.originator_id]
        return AuditEntry(
            position=position,
            timestamp=event.timestamp,
            action=action_of(event, earlier[-1].TOPIC if earlier else None),
            outcome=Outcome(facts.outcome),
            tenant_id=facts.tenant_id,
            provider=facts.provider,
            version=event.originator_version,
            actor=event.actor,
            role=event.role,
            source=event.source,
            client_address=event.client_address,
            reason=event.reason,
            request_id=event.request_id,
            command_id=event.command_id,
            masked_key=facts.masked_key,
            key_id=facts.key_id,
            fingerprint=facts.fingerprint,
            details=facts.details,
        )

    def _answer(self) -> None:
        if self.down:
            raise StoreUnavailableError


def _fits(row: AuditEntry, wanted: AuditFilter) -> bool:
    return (
        row.position > wanted.after
        and (wanted.before is None or row.position < wanted.before)
        and wanted.action in {None, row.action}
        and wanted.outcome in {None, row.outcome}
        and wanted.key_id in {None, row.key_id}
        and wanted.fingerprint in {None, row.fingerprint}
        and (not wanted.of_credential or row.action in OF_A_CREDENTIAL)
        and all(text.lower() in str(row).lower() for text in wanted.texts)
        and (wanted.reason is None or wanted.reason.lower() in (row.reason or "").lower())
        and wanted.tenant_id in {None, row.tenant_id}
        and wanted.provider in {None, row.provider}
        and wanted.actor in {None, row.actor}
        and (wanted.since is None or row.timestamp >= wanted.since)
        and (wanted.until is None or row.timestamp < wanted.until)
    )


class MemoryUsage:
    """Records of usage in a dictionary. `was_added` is never needed: what is down adds nothing."""

    def __init__(self) -> None:
        self.records: dict[UsagePlace, UsageRecord] = {}
        self.down = False

    def add(self, records: Sequence[UsageRecord]) -> None:
        self._answer()
        for one in records:
            known = self.records.get(one.place, UsageRecord(one.place, 0, 0, one.last_used_at))
            last = max(known.last_used_at, one.last_used_at)
            self.records[one.place] = UsageRecord(
                one.place, known.calls + one.calls, known.failures + one.failures, last
            )

    def was_added(self, transaction: str) -> bool:
        raise AssertionError(transaction)

    def last(self, tenant_id: str, provider: str, version: int) -> datetime | None:
        """Return when a version or a later one was last used."""
        uses = [
            record.last_used_at
            for place, record in self.records.items()
            if (place.tenant_id, place.provider) == (tenant_id, provider) and place.version >= version
        ]
        return max(uses, default=None)

    def page(self, wanted: UsageFilter) -> Sequence[UsageRecord]:
        self._answer()
        fitting = (
            place
            for place in sorted(self.records)
            if wanted.tenant_id in {None, place.tenant_id}
            and wanted.provider in {None, place.provider}
            and (wanted.since is None or place.hour >= wanted.since)
            and (wanted.until is None or place.hour < wanted.until)
            and (wanted.after is None or place > wanted.after)
        )
        return [self.records[place] for place in islice(fitting, wanted.limit)]

    def _answer(self) -> None:
        if self.down:
            raise StoreUnavailableError


class MemoryKeys:
    """Two encryption keys, and rotations that are over as soon as they begin, unless a test holds them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.held = False
        self.obstacle = ""
        self.found: dict[str, RotationStatus] = {}

    def keys(self) -> Sequence[KeyStatus]:
        old = KeyStatus("k0000000002", KeyState.PREVIOUS, START, None, 0, 3, True, "no live credential needs it")
        return [
            KeyStatus("k0000000001", KeyState.PRIMARY, START, None, 2, 0, False, "new ones are sealed under it"),
            old,
        ]

    def start(self, meta: CommandMeta) -> RotationStatus:
        if self.obstacle:
            raise RotationRefusedError(self.obstacle)
        now = self._clock()
        begun = RotationStatus(
            str(uuid4()), "k0000000001", meta.actor, RotationState.RUNNING, 2, RotationCounts(), (), now, now, None
        )
        self.found[begun.rotation_id] = begun
        return begun if self.held else self.end(begun.rotation_id, RotationState.COMPLETED)

    def end(self, rotation_id: str, state: RotationState) -> RotationStatus:
        now, before = self._clock(), self.rotation(rotation_id)
        unopened = (Unopened(str(uuid4()), "openai", "binding"),)
        self.found[rotation_id] = replace(
            before, state=state, counts=RotationCounts(1, 0, 1), unopened=unopened, updated_at=now, finished_at=now
        )
        return self.found[rotation_id]

    def rotations(self) -> Sequence[RotationStatus]:
        return list(reversed(self.found.values()))

    def rotation(self, rotation_id: str) -> RotationStatus:
        if rotation_id not in self.found:
            raise RotationNotFoundError
        return self.found[rotation_id]

    def cancel(self, rotation_id: str) -> RotationStatus:
        found = self.rotation(rotation_id)
        return self.end(rotation_id, RotationState.CANCELLED) if found.state is RotationState.RUNNING else found


class MemoryProjections:
    """Two views, and replays that are over as soon as they begin, unless a test holds them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.held = False
        self.stopped: str | None = None
        self.differences: tuple[Difference, ...] = ()
        self.found: dict[str, ReplayStatus] = {}

    def list(self) -> Sequence[ProjectionStatus]:
        return [
            ProjectionStatus("current_credentials", 5, 5, 2, None),
            ProjectionStatus("audit_trail", 3, 5, 3, self.stopped),
        ]

    def start(self, projection: str, swap: Swap, meta: CommandMeta) -> ReplayStatus:
        self._require(projection)
        if any(one.state is ReplayState.RUNNING for one in self.found.values()):
            raise ReplayConflictError("A replay is running.")
        now, replay_id, count = self._clock(), str(uuid4()), len(self.differences)
        begun = ReplayStatus(
            replay_id, projection, meta.actor, swap, ReplayState.RUNNING, 2, 5, None, None, now, now, None
        )
        swapped = swap is Swap.ALWAYS or (swap is Swap.IF_EQUAL and not count)
        result = RebuildResult(projection, 5, 5, 2, count, self.differences, swapped, 0.5)
        ended = replace(begun, state=ReplayState.COMPLETED, done=5, result=result, finished_at=now)
        self.found[replay_id] = begun if self.held else ended
        return self.found[replay_id]

    def replay(self, projection: str, replay_id: str) -> ReplayStatus:
        self._require(projection)
        if replay_id not in self.found or self.found[replay_id].projection != projection:
            raise ReplayNotFoundError
        return self.found[replay_id]

    def _require(self, projection: str) -> None:
        known = [status.name for status in self.list()]
        if projection not in known:
            raise UnknownProjectionError(known)


class MemoryPast:
    """What the list of events says was in effect at a time."""

    def __init__(self, store: MemoryStore, sealer: VaultSealer) -> None:
        self._store = store
        self._sealer = sealer

    def of_tenant(self, tenant_id: str, at: datetime) -> Sequence[CredentialStatus]:
        past = MemoryStore()
        past.events = [event for event in self._store.events if event.timestamp <= at]
        return CredentialService(past, past, self._sealer, lambda: at).of_tenant(tenant_id)


class MemoryTransparency:
    """The tree over the list of events, hashed anew for each question."""

    def __init__(self, store: MemoryStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self.refusal: ServiceError | None = None

    def checkpoint(self) -> SignedCheckpoint:
        if self.refusal is not None:
            raise self.refusal
        size, root = len(self._store.events), root_of(map(leaf_hash, self._leaves()))
        text = Checkpoint("memory", size, root).text
        return SignedCheckpoint(f"{text}\n\N{EM DASH} memory AAAAAAA=\n", "memory", size, root, self._clock())

    def inclusion(self, position: int, size: int | None) -> Inclusion:
        leaves = self._leaves(size)
        if position > len(leaves):
            raise ProofNotFoundError(f"no position {position}")
        hashes = [leaf_hash(leaf) for leaf in leaves]
        proof = inclusion_proof(position - 1, len(leaves), _Hashes(hashes))
        text = leaves[position - 1].decode()
        return Inclusion(position, len(leaves), text, hashes[position - 1], proof, root_of(hashes))

    def consistency(self, older: int, size: int | None) -> Consistency:
        hashes = [leaf_hash(leaf) for leaf in self._leaves(size)]
        if older > len(hashes):
            raise ProofNotFoundError(f"no tree of {older}")
        proof = consistency_proof(older, len(hashes), _Hashes(hashes))
        return Consistency(older, len(hashes), root_of(hashes[:older]), root_of(hashes), proof)

    def evidence(self, size: int, tenant_id: str | None) -> Iterator[ProvenLeaf]:
        for position, leaf in enumerate(self._leaves(size), start=1):
            if tenant_id in {None, json.loads(leaf)["tenant_id"]}:
                proof = () if tenant_id is None else self.inclusion(position, size).proof
                yield ProvenLeaf(position, leaf.decode(), leaf_hash(leaf), proof)

    def _leaves(self, size: int | None = None) -> list[bytes]:
        if size is not None and size > len(self._store.events):
            raise ProofNotFoundError(f"no tree of {size}")
        events = enumerate(self._store.events[:size], start=1)
        return [leaf_of(position, event, encode(event)) for position, event in events]


@dataclass
class _Hashes:
    """Hashes of subtrees, each computed from the leaves."""

    leaves: Sequence[bytes]

    def subtrees(self, nodes: Sequence[Node]) -> Sequence[bytes]:
        return [root_of(self.leaves[node.index << node.height : (node.index + 1) << node.height]) for node in nodes]


class MemoryFleet:
    """All places that the list of events knows, in one order."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    def places(self, wanted: FleetFilter, after: CredentialPlace | None, limit: int) -> Sequence[CredentialPlace]:
        return [place for place in self._all(wanted) if after is None or place > after][:limit]

    def of_tenants(self, after: str | None, limit: int) -> Sequence[CredentialPlace]:
        places = self._all(FleetFilter())
        tenants = sorted({place.tenant_id for place in places if after is None or place.tenant_id > after})
        return [place for place in places if place.tenant_id in tenants[:limit]]

    def lodged(self, places: Sequence[CredentialPlace]) -> Sequence[Lodged]:
        return [Lodged(place, self._store.read(*place), self._changed_at(place)) for place in places]

    def _all(self, wanted: FleetFilter) -> Sequence[CredentialPlace]:
        of_credentials = (event for event in self._store.events if isinstance(event, CredentialEvent))
        places = sorted({CredentialPlace(event.tenant_id, event.provider) for event in of_credentials})
        return [
            place
            for place in places
            if wanted.tenant_id in {None, place.tenant_id} and wanted.provider in {None, place.provider}
        ]

    def _changed_at(self, place: CredentialPlace) -> datetime | None:
        last = self._store.last(stream_id(*place))
        assert last is not None
        return evolve(last).set_at or last.timestamp


class MemoryListing:
    """The store for the event loop."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    async def of_tenant(self, tenant_id: str) -> Sequence[Stored]:
        return self._store.of_tenant(tenant_id)


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
    route: Callable[[], Route] = lambda: Route(
        TENANT_RECEIPT, OPENAI, "https://api.openai.com/v1", False, None, None, None
    )
    calls: list[tuple[str, str, Json]] = field(default_factory=list)

    def models(self) -> Sequence[Model]:
        return [GPT, EMBEDDER]

    def model(self, name: str) -> Model:
        for model in self.models():
            if model.name == name:
                return model
        raise UnknownModelError("ai_models.yml")

    async def explain(self, tenant_id: str, model: str) -> Route:
        return self.route()

    async def complete(self, tenant_id: str, model: str, params: Json) -> Answer | AnswerStream:
        self.calls.append((tenant_id, model, params))
        messages = params.get("messages")
        if not isinstance(messages, list) or not messages or not all(isinstance(one, dict) for one in messages):
            raise InvalidRequestError([InvalidField("messages", "must be a list of objects")])
        return self.outcome()

    async def embed(self, tenant_id: str, model: str, params: Json) -> Answer:
        self.calls.append((tenant_id, model, params))
        if not isinstance(params.get("input"), str | list):
            raise InvalidRequestError([InvalidField("input", "must be a text or a list")])
        answer = self.outcome()
        assert isinstance(answer, Answer)
        return answer


async def _read(body: bytes | AsyncIterable[bytes]) -> bytes:
    return body if isinstance(body, bytes) else b"".join([piece async for piece in body])


class ScriptedPieces:
    """The pieces of an answer, one of which may be an exception that is raised in its place."""

    def __init__(self, *items: bytes | Exception) -> None:
        self._items = iter(items)
        self.dropped = 0

    async def next(self) -> bytes | None:
        item = next(self._items, None)
        if isinstance(item, Exception):
            raise item
        return item

    def drop(self) -> None:
        self.dropped += 1


@dataclass
class ScriptedApis:
    """Providers whose answers a test sets. `calls` has each call with its whole body."""

    outcome: Callable[[], NativeAnswer] = lambda: NativeAnswer(
        TENANT_RECEIPT, 200, [(b"content-type", b"application/json")], b"{}", None
    )
    calls: list[NativeCall] = field(default_factory=list)

    async def call(self, call: NativeCall) -> NativeAnswer:
        self.calls.append(replace(call, body=await _read(call.body)))
        return self.outcome()


def state_of(store: MemoryStore, tenant_id: str, provider: str) -> Credential | None:
    """Return the live credential as the log has it."""
    return store.read(tenant_id, provider).current()
