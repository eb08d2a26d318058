"""Relays requests to the routes of OpenAI's API that providers have in the same form.

Promises: the model is one of the catalogue, and what is sent names it as its provider does (for azure, the deployment);
the answer is the provider's own, errors included. Everything else is as for native calls, the rules of the global key
among them. A stream that ends before its proper end raises an error there.
"""

from domain.calls.native import NativeAnswer, NativeCall
from domain.calls.openai_routes import RelayedCall, require_kind, require_route
from keyledger.llm.answers.event_ends import EventEnds
from keyledger.llm.call_configuration import CurrentCallConfiguration
from keyledger.llm.native.for_model import ForModel
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
        configuration, route = self._configuration(), call.route
        body = await read_body(call)
        model = configuration.catalogue.model(body.model)
        require_kind(model, route)
        providers = configuration.resolver.providers
        require_route(providers.named(model.provider), route, providers)
        call.begin(model)
        native = NativeCall(
            call.tenant_id,
            model.provider,
            route.method,
            route.name,
            call.query,
            call.headers,
            admission=call.admission,
        )
        return await self._apis.send(native, configuration, ForModel(model, body.named, EventEnds(route.name)))
