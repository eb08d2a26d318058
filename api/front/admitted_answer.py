"""Requests that a scope limits: nothing is answered before the request was admitted.

Promises: a call that ends before its key is resolved, such as one with an invalid body, is answered only
once it was admitted too; where it is not, the answer is that.
"""

from starlette.types import Message, Receive, Scope, Send

from api.front.bodies import Limits, refuse
from api.front.callers import RequestAdmission
from api.front.problems import problem_of
from domain.errors import ServiceError


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
        if starts and admission is not None and admission.caller is None and admission.error is None:
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
