"""Relays requests to the routes of OpenAI's API that providers have in the same form.

Promises: the model is one of the catalogue, and what is sent names it as its provider does (for azure, the deployment);
the answer is the provider's own, errors included. A route without a model goes to the provider that the request names,
never with the global key. Everything else is as for native calls, the rules of the global key among them. A stream that
ends before its proper end raises an error there.
"""

from domain.calls.models import Model
from domain.calls.native import NativeAnswer, NativeCall
from domain.calls.openai_routes import RelayedCall, having_route, require_kind, require_provider, require_route
from domain.errors import InvalidField, InvalidRequestError
from keyledger.llm.answers.event_ends import EventEnds
from keyledger.llm.call_configuration import CallConfiguration, CurrentCallConfiguration
from keyledger.llm.native.for_route import ForRoute, ModelOfBody
from keyledger.llm.native.pass_through import PassThrough
from keyledger.llm.relayed.bodies import read_body


class Relay:
    """The relayed routes of one process. Implements `domain.calls.openai_routes.RelayedRoutes`."""

    def __init__(self, configuration: CurrentCallConfiguration, apis: PassThrough) -> None:
        """configuration: returns the one in force, for each new call. apis: sends the requests."""
        self._configuration = configuration
        self._apis = apis

    async def call(self, call: RelayedCall) -> NativeAnswer:
        """Send one request and return its response as soon as that starts."""
        configuration, called = self._configuration(), None
        if call.route.names_model:
            called = await _called(call, configuration)
        provider = called.model.provider if called is not None else call.provider
        providers = configuration.resolver.providers
        if provider is None:
            rule = f"is required in the query, because no model names it: {having_route(call.route, providers)}"
            raise InvalidRequestError([InvalidField("provider", rule)])
        require_route(providers.named(provider), call.route, providers)
        call.begin(provider, None if called is None else called.model)
        native = NativeCall(
            call.tenant_id,
            provider,
            call.route.method,
            call.path,
            call.query,
            call.headers,
            call.body,
            call.length,
            call.admission,
        )
        return await self._apis.send(
            native, configuration, ForRoute(EventEnds(call.route.group), called, call.route.generates)
        )


async def _called(call: RelayedCall, configuration: CallConfiguration) -> ModelOfBody:
    """Return the model that a body names. Raises NotFoundError, InvalidRequestError, and what reading a body raises."""
    body = await read_body(call)
    model: Model = configuration.catalogue.model(body.model)
    require_kind(model, call.route)
    require_provider(model, call.provider)
    return ModelOfBody(model, body.named)
