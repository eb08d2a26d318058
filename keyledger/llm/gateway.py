"""Calls models on behalf of a tenant: joins catalogue, resolution and adapters.

Promises: a call resolves its key when it starts, sends one request with it, and drops it when the response starts;
nothing is cached, retried or tried with another key. Every failure is a ServiceError without text from a provider, and
its traceback holds no key. Parameters from the client are either sent or refused with such an error. A chat with the
global key leaves no state in the platform's account and reaches none there (see `requests.stateless`).
A stream that is not read to its end must be closed with `aclose`, which closes its connection.
"""

import asyncio
from collections.abc import Callable, Sequence, Set
from functools import partial
from typing import Any

from api.front.json_structure import is_long, off_the_loop_if_long
from domain.audit.usage import UsageMeter
from domain.calls.call_admission import CallAdmission
from domain.calls.models import Adapter, Answer, AnswerStream, Json, Model, ModelKind
from domain.calls.openai_routes import routes_of
from domain.credentials.providers import Dialect, Provider
from domain.credentials.resolution import Receipt, Route, Source
from domain.errors import InvalidField, InvalidRequestError, ProviderUnavailableError, ServiceError
from keyledger.llm.adapters.direct import DirectAdapter
from keyledger.llm.adapters.litellm import LiteLLMAdapter
from keyledger.llm.adapters.openai_body import openai_embeddings
from keyledger.llm.adapters.warming import Warming, adapter_of
from keyledger.llm.answers.anthropic_answers import anthropic_answer
from keyledger.llm.answers.bounds import chat_bounds, embeddings_bounds
from keyledger.llm.answers.chat_stream import chat_chunks
from keyledger.llm.answers.openai_answers import openai_answer
from keyledger.llm.answers.openai_shapes import chat_shape, embeddings_shape
from keyledger.llm.call_configuration import CallConfiguration, CurrentCallConfiguration
from keyledger.llm.chat_chunks import ChatChunks, failure_of
from keyledger.llm.metering import Called, MeteredCall, caller_of
from keyledger.llm.requests.counted import counted
from keyledger.llm.requests.litellm_plans import Plan, plan
from keyledger.llm.requests.most_tokens import Most, most_of
from keyledger.llm.requests.parameters import Request, chat_request, embeddings_request
from keyledger.llm.requests.prepared import Prepared, encoded
from keyledger.llm.requests.stateless import stateless_chat, stateless_embeddings
from keyledger.llm.wire.dialling import Lookup
from keyledger.llm.wire.dispatch import Timeouts
from keyledger.llm.wire.idle_connections import IdleConnections
from keyledger.llm.wire.lease import Lease, Owner
from keyledger.llm.wire.wire import Wire, events, whole
from keyledger.settings.ai_models import Catalogue

_CHECKED_INLINE_MAX = 200
"""Messages that are checked on the event loop; more would delay all other requests."""


class Gateway:
    """The language models of one process, for one event loop.

    `warming` loads in advance what the first call needs.
    """

    def __init__(
        self,
        configuration: CurrentCallConfiguration,
        timeouts: Timeouts | None = None,
        lookup: Lookup | None = None,
        *,
        meter: UsageMeter,
        idle: IdleConnections | None = None,
    ) -> None:
        """configuration: returns the one in force, for each new call. timeouts: limits in seconds.
        lookup: resolves the host names of tenants' endpoints; by default the system's resolver.
        meter: counts calls with tenants' own credentials. idle: keeps connections between calls.
        """
        self._configuration = configuration
        self._meter = meter
        self._checking = asyncio.Lock()
        self._wire = Wire(lambda: configuration().rules, timeouts, lookup, idle)
        self._adapters: dict[Adapter, LiteLLMAdapter | DirectAdapter] = {
            Adapter.LITELLM: LiteLLMAdapter(),
            Adapter.LEGACY: DirectAdapter(),
        }
        self.warming = Warming(self._adapters, self._adapters_of_models)

    async def start(self) -> None:
        """Start loading what the first call needs, and return."""
        self.warming.start()

    async def stop(self) -> None:
        """Close all connections."""
        await self.warming.stop()
        await self._wire.aclose()

    def models(self) -> Sequence[Model]:
        """Return the models that applications can request by name."""
        return self._configuration().catalogue.listed

    def model(self, name: str) -> Model:
        """Return one model. Raises NotFoundError if there is none of that name."""
        return self._configuration().catalogue.model(name)

    async def explain(self, tenant_id: str, model: str) -> Route:
        """Return where a call would go and with whose credential. Decrypts nothing and sends nothing.

        Raises what resolution raises, and NotFoundError for an unknown model.
        """
        configuration = self._configuration()
        entry = configuration.catalogue.model(model)
        return await configuration.resolver.explain(tenant_id, entry.provider, tenant_capable=entry.tenant_capable)

    async def complete(
        self, tenant_id: str, model: str, params: Json, admission: CallAdmission | None = None
    ) -> Answer | AnswerStream:
        """Complete a chat; with `"stream": true`, return once the response has started.

        params: the body of OpenAI's chat completions; its model is ignored. admission: of a caller with an access key.
        Raises what resolution raises, NotFoundError for an unknown model, InvalidRequestError and ProviderError.
        """
        configuration = self._configuration()
        entry = _of_kind(configuration.catalogue, model, ModelKind.COMPLETION)
        return await self._call(configuration, tenant_id, entry, await self._checked(chat_request, params), admission)

    async def embed(self, tenant_id: str, model: str, params: Json, admission: CallAdmission | None = None) -> Answer:
        """Compute embeddings.

        params: the body of OpenAI's embeddings; its model is ignored. admission, errors: as in `complete`.
        """
        configuration = self._configuration()
        entry = _of_kind(configuration.catalogue, model, ModelKind.EMBEDDING)
        request = await self._checked(embeddings_request, params)
        answer = await self._call(configuration, tenant_id, entry, request, admission)
        assert isinstance(answer, Answer)  # noqa: S101  embeddings do not stream
        return answer

    async def _checked(self, check: Callable[[Json], Request], params: Json) -> Request:
        """Return the checked request; a long one is checked in a thread, one at a time."""
        if not is_long(params):
            return check(params)
        async with self._checking:
            return await asyncio.to_thread(check, params)

    def _adapters_of_models(self) -> Set[Adapter]:
        return {adapter_of(model) for model in self._configuration().catalogue.models}

    async def _call(
        self,
        configuration: CallConfiguration,
        tenant_id: str,
        entry: Model,
        request: Request,
        admission: CallAdmission | None,
    ) -> Answer | AnswerStream:
        adapter = self._adapters[adapter_of(entry)]
        await self.warming.may_load(adapter)
        await _loaded(adapter, entry.provider)  # takes seconds, so it comes before the key is resolved
        capable = entry.tenant_capable
        resolved = await configuration.resolve(tenant_id, entry.provider, tenant_capable=capable, admission=admission)
        route = resolved.route
        if route.receipt.source is Source.GLOBAL:
            request = await _stateless(request, route.provider, configuration.catalogue)
        call_plan = plan(entry, route)
        lease = Lease(
            call_plan.origin,
            call_plan.header,
            resolved.secret,
            owner=Owner(tenant_id, route.provider.name, route.receipt.version),
            checked=route.tenant_endpoint,
            self_hosted=route.provider.self_hosted,
            streaming=request.streaming,
            rejects_with=route.provider.rejects_with,
            bounds=embeddings_bounds(request) if entry.kind is ModelKind.EMBEDDING else chat_bounds(request),
        )
        del resolved
        called = Called(
            configuration.catalogue,
            configuration.prices,
            entry.name,
            entry.upstream_name,
            access_key=caller_of(admission),
        )
        reservation = await called.reserve(admission, entry.provider, lambda: _most(request, entry))
        metered = MeteredCall(self._meter, tenant_id, route.receipt, lease.observation, called, reservation)
        with metered:
            answer = await self._attempt(adapter, call_plan, entry, request, lease, route.receipt)
        if request.streaming:
            return AnswerStream(route.receipt, ChatChunks(answer, lease, route.receipt, request, entry.name, metered))
        metered.finish()
        return Answer(route.receipt, answer)

    async def _attempt(
        self,
        adapter: LiteLLMAdapter | DirectAdapter,
        call_plan: Plan,
        entry: Model,
        request: Request,
        lease: Lease,
        receipt: Receipt,
    ) -> Any:
        """Return the response in OpenAI's form, or a started stream. Raises ServiceError only."""
        failure: ServiceError
        reading = False
        try:
            embeds = entry.kind is ModelKind.EMBEDDING
            prepare = openai_embeddings if embeds else adapter.chat
            prepared = await _prepared(prepare, call_plan, counted(request, call_plan.row))
            await self._wire.send(lease, call_plan.url, prepared)
            lease.close()
            if request.streaming:
                reading = True
                dialect, observation = call_plan.row.dialect, lease.observation
                note = observation.told.note
                return chat_chunks(events(lease), dialect, request, prepared, lambda: observation.marked, note)
            content = await whole(lease)
            lease.observation.told.note(content)
            if embeds:
                return embeddings_shape(content, entry.name)
            anthropic = call_plan.row.dialect is Dialect.ANTHROPIC
            return chat_shape(anthropic_answer(content, prepared) if anthropic else openai_answer(content), entry.name)
        except InvalidRequestError as error:
            failure = error
        except Exception as error:  # noqa: BLE001  any of them may quote the provider
            failure = failure_of(error, lease, receipt, request)
        finally:
            lease.close()
            if not reading:
                lease.drop_answer()
        raise failure  # outside the except block, so that it has no context


async def _prepared(prepare: Callable[[Plan, Request], Prepared], call_plan: Plan, request: Request) -> Prepared:
    """Return the request as it is sent; a long one is translated in a thread."""
    return await off_the_loop_if_long(request.parameters, lambda: prepare(call_plan, request))


async def _most(request: Request, entry: Model) -> Most:
    size = await off_the_loop_if_long(request.parameters, lambda: len(encoded(request.parameters)))
    generates = entry.kind is not ModelKind.EMBEDDING
    return most_of(size, {**request.parameters, **request.extras}, generates=generates)


def _of_kind(catalogue: Catalogue, name: str, kind: ModelKind) -> Model:
    entry = catalogue.model(name)
    if entry.kind is not kind:
        raise InvalidRequestError([InvalidField("model", f"is for {entry.kind.value}; call {routes_of(entry.kind)}")])
    return entry


async def _stateless(request: Request, provider: Provider, catalogue: Catalogue) -> Request:
    served = partial(catalogue.serves, provider.name)
    if "messages" not in request.parameters:
        return stateless_embeddings(request)
    if len(request.parameters["messages"]) <= _CHECKED_INLINE_MAX:
        return stateless_chat(request, provider, served)
    return await asyncio.to_thread(stateless_chat, request, provider, served)


async def _loaded(adapter: LiteLLMAdapter | DirectAdapter, provider: str) -> None:
    failure: ProviderUnavailableError | None = None
    try:
        await adapter.warm_up()
    except Exception:  # noqa: BLE001  a broken installation can raise anything
        failure = ProviderUnavailableError(provider, "adapter-not-loaded")
    if failure is not None:
        raise failure
