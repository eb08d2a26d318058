"""Asks a provider whether it accepts a key, before the key is stored or later.

Promises: one request, to the address that calls with this credential would use, checked like those; it generates
nothing. A key counts as accepted only where the provider's answer to an authenticated request says so: its models, or,
where those say nothing of a key, its complaint about a model that does not exist. No connection is kept, and no part of
the answer but its status is read. An answer that says neither yes nor no is an error of the provider, never a yes.
Limits: a provider that answers before it looks at the key accepts any key.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from yarl import URL

from domain.audit.usage import UsageMeter
from domain.credentials.credential import Credential
from domain.credentials.key_check import KeyVerdict
from domain.credentials.providers import CredentialConfig, Dialect, Provider
from domain.credentials.resolution import Receipt, Route, Source
from domain.credentials.secret import Secret
from domain.endpoints.rules import endpoint_error
from domain.errors import (
    CredentialNotFoundError,
    ErrorCode,
    InvalidField,
    InvalidRequestError,
    ProviderUnavailableError,
    RejectedCredentialError,
    ServiceError,
)
from keyledger.llm.call_configuration import CurrentCallConfiguration
from keyledger.llm.metering import MeteredCall
from keyledger.llm.requests.provider_addresses import ANTHROPIC_VERSION, provider_address
from keyledger.llm.wire.dialling import Lookup
from keyledger.llm.wire.dispatch import CallFailedError, Dispatcher, Timeouts
from keyledger.llm.wire.idle_connections import IdleConnections
from keyledger.llm.wire.lease import Lease, Owner
from keyledger.llm.wire.observation import Observation, note_answer
from keyledger.llm.wire.provider_errors import unsuccessful_error

_TIMEOUTS = Timeouts(connect=5.0, answer=10.0)
_NO_SUCH_MODEL = b'{"model":"keyledger-key-check","messages":[{"role":"user","content":"hello"}],"max_tokens":1}'


@dataclass(frozen=True, slots=True)
class _Question:
    """A request that tells a key that is accepted from one that is not. accepted: the statuses besides success."""

    method: str
    path: str
    body: bytes | None
    accepted: frozenset[int]


_MODELS = _Question("GET", "models", None, frozenset({403}))
"""A key that is limited to other routes is answered 403."""
_CHAT = _Question("POST", "chat/completions", _NO_SUCH_MODEL, frozenset({400, 404, 422}))


class KeyCheck:
    """Implements `domain.credentials.key_check.KeyChecks` for one event loop."""

    def __init__(
        self, configuration: CurrentCallConfiguration, lookup: Lookup | None = None, *, meter: UsageMeter
    ) -> None:
        """configuration: returns the one in force. lookup: resolves host names; by default the system's resolver.

        meter: counts checks of stored keys, as calls.
        """
        self._configuration = configuration
        self._meter = meter
        none_kept = IdleConnections(lambda: 0)
        self._dispatcher = Dispatcher(lambda: configuration().rules, _TIMEOUTS, lookup, none_kept)

    async def start(self) -> None:
        """Do nothing: connections are opened by checks."""

    async def stop(self) -> None:
        """Close all connections."""
        await self._dispatcher.aclose()

    async def require_accepted(self, tenant_id: str, provider: str, secret: Secret, config: CredentialConfig) -> None:
        """Return if the provider accepts a key. Raises InvalidRequestError, ProviderError, NotFoundError."""
        route = self._configuration().resolver.route_of(Credential(tenant_id, provider, 0, None, None, config, None))
        if (failed := self._endpoint_error(route)) is not None:
            raise failed
        observation = Observation()
        error = await self._ask(tenant_id, route, secret, observation)
        if isinstance(error, RejectedCredentialError):
            rule = f"{route.provider.name} rejects this key; nothing was stored"
            raise InvalidRequestError([InvalidField("api_key", rule)], ErrorCode.INVALID_CREDENTIAL)
        if error is not None:
            raise error

    async def check_stored(self, tenant_id: str, provider: str) -> KeyVerdict:
        """Return what the provider says of the key that is stored.

        Raises what resolution raises, CredentialNotFoundError, ProviderError.
        """
        resolved = await self._configuration().resolve(tenant_id, provider, tenant_capable=True)
        route, version = resolved.route, resolved.receipt.version
        if version is None:
            raise CredentialNotFoundError(tenant_id, provider)
        observation = Observation()
        with MeteredCall(self._meter, tenant_id, route.receipt, observation) as metered:
            error = await self._ask(tenant_id, route, resolved.secret, observation)
            metered.finish()
        if error is None or isinstance(error, RejectedCredentialError):
            return KeyVerdict(version, error is None)
        raise error

    def _endpoint_error(self, route: Route) -> ServiceError | None:
        rules, provider = self._configuration().rules, route.provider
        if route.tenant_endpoint and endpoint_error(route.base_url, rules, self_hosted=provider.self_hosted):
            return ProviderUnavailableError(provider.name, "endpoint-not-allowed")
        return None

    async def _ask(self, tenant_id: str, route: Route, secret: Secret, observation: Observation) -> ServiceError | None:
        """Return why the key is not accepted, None if it is: a traceback from here would reach it."""
        provider = route.provider
        question = _CHAT if provider.models_are_public else _MODELS
        address = provider_address(route)
        lease = Lease(
            address.origin,
            address.header,
            secret,
            owner=Owner(tenant_id, provider.name, 0),
            checked=route.tenant_endpoint,
            self_hosted=provider.self_hosted,
            streaming=False,
            rejects_with=provider.rejects_with,
            observation=observation,
        )
        url = URL(address.url(question.path, ""), encoded=True)
        try:
            answer = await self._dispatcher.send(
                lease, question.method, url, _headers(provider, question), question.body, self._dispatcher.deadline()
            )
        except CallFailedError as refused:
            return ProviderUnavailableError(provider.name, str(refused))
        finally:
            lease.close()
        if answer is not None:
            note_answer(observation, answer, lease.rejects_with, streaming=False)
            answer.close()
        said = observation.accepted or observation.status in question.accepted
        if said and not observation.rejected:
            return None
        return unsuccessful_error(observation, Receipt(Source.TENANT, provider.name))


def _headers(provider: Provider, question: _Question) -> list[tuple[str, str]]:
    headers: Mapping[str, str] = {"accept-encoding": "identity", "user-agent": "keyledger"}
    if provider.dialect is Dialect.ANTHROPIC:
        headers = {**headers, "anthropic-version": ANTHROPIC_VERSION}
    if question.body is not None:
        headers = {**headers, "content-type": "application/json"}
    return list(headers.items())
