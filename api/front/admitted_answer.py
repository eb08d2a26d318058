"""Requests with an access key: who presents it, and that nothing is answered before the request was admitted.

Promises: a token that the ledger does not have is a wrong key like any other. One that may no longer be used is refused
by the name of its key. A call that ends before its key is resolved, such as one with an invalid body, is answered only
once it was admitted too; where it is not, the answer is that.
"""

from starlette.types import Message, Receive, Scope, Send

from api.front.bodies import Limits, refuse
from api.front.callers import Callers, RequestAdmission
from api.front.exchange import exchange_of
from api.front.paths import is_call, is_native, lists_models, named_in, speaks_anthropic, speaks_openai
from api.front.problems import problem_of
from domain.access.scope import Surface, Wanted
from domain.access.token import digest_of, is_token
from domain.errors import ServiceError


async def present_token(callers: Callers, presented: set[str], scope: Scope, path: str) -> None:
    """Set actor and admission of a request that presents the token of an access key.

    Raises StoreUnavailableError, and AccessError for a token that may no longer be used.
    """
    if len(presented) != 1:
        return
    (key,) = presented
    token, exchange = key.encode("latin-1"), exchange_of(scope)
    if not is_token(token):
        return
    digest, calling = digest_of(token), is_call(scope["method"], path)
    exchange.actor = callers.known(digest)
    if exchange.actor is None:
        if (row := await callers.read(digest)) is None:
            return
        exchange.actor = callers.actor_of(digest, row)
        callers.reader.usable(digest, row)
    exchange.admission = RequestAdmission(callers, digest, _wanted(scope, path), calling=calling)


def _wanted(scope: Scope, path: str) -> Wanted:
    """Return what the headers of a request name. A call names its provider, model and route later."""
    tenant, provider = named_in(scope, path)
    speaks = {Surface.NATIVE: is_native, Surface.OPENAI: speaks_openai, Surface.MESSAGES: speaks_anthropic}
    surface = next((surface for surface, its in speaks.items() if its(path)), None)
    return Wanted(
        address=exchange_of(scope).client_address,
        tenant=tenant,
        provider=provider,
        surface=surface,
        filtered=lists_models(path),
    )


class AdmittedAnswer:
    """Sends the answer to a request that was admitted, and another one where it is not.

    admission: None for a caller whose key is not in the log. begun: whether the answer has begun.
    """

    def __init__(
        self, admission: RequestAdmission | None, scope: Scope, receive: Receive, send: Send, limits: Limits
    ) -> None:
        self._admission = admission
        self._scope = scope
        self._receive = receive
        self._send = send
        self._limits = limits
        self._refused = False
        self.begun = False

    async def __call__(self, message: Message) -> None:
        """Send one message of the answer."""
        admission = self._admission
        starts = message["type"] == "http.response.start"
        if starts and admission is not None and admission.key is None and admission.error is None:
            if message["status"] >= 400:
                admission.fails()
            try:
                await admission.read()
            except ServiceError as error:
                self._refused = True
                await refuse(problem_of(error), self._scope, self._receive, self._send, self._limits)
        if not self._refused:
            self.begun = True
            await self._send(message)
