"""Problems for the errors that routing and handlers raise.

Promises: an expected error becomes its problem. An unexpected one, and any error after the answer has begun, is raised
to the envelope, which logs it.
"""

from collections.abc import Sequence

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.front.head import with_head
from api.front.problems import HttpError, Problem, internal_problem, problem_of, problem_response
from api.front.stored_key_in_id import keep_stored_key_out
from api.front.validation import request_errors
from domain.errors import ServiceError


class ErrorMiddleware:
    """ASGI middleware around routing."""

    def __init__(self, app: ASGIApp, *, routes: Sequence[BaseRoute]) -> None:
        self._app = app
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request. Raises unexpected errors."""
        begun = False

        async def noted(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, noted)
        except (ServiceError, HttpError, RequestValidationError, HTTPException) as error:
            if begun:
                raise
            problem = self._problem(error, scope)
            error.__traceback__ = None  # its frames hold the request, and with it keys
        else:
            return
        await keep_stored_key_out(scope, problem.status)
        await problem_response(problem, scope)(scope, receive, send)

    def _problem(self, error: Exception, scope: Scope) -> Problem:
        if isinstance(error, ServiceError | HttpError):
            return problem_of(error)
        if isinstance(error, RequestValidationError):
            return problem_of(request_errors(error, scope.get("route")))
        status = error.status_code if isinstance(error, HTTPException) else 500
        if status == 404:
            return problem_of(HttpError("not-found", "There is nothing at this address."))
        if status == 405:
            allowed = self._allowed_methods(scope)
            detail = f"Use {' or '.join(allowed)}."
            return problem_of(HttpError("method-not-allowed", detail, {"Allow": ", ".join(allowed)}))
        return internal_problem()

    def _allowed_methods(self, scope: Scope) -> list[str]:
        """Return the methods of every route of the path; the router itself knows only the first that matches."""
        methods: set[str] = set()
        for route in self._routes:
            if route.matches(scope)[0] is not Match.NONE:
                methods |= getattr(route, "methods", None) or set()
        return sorted(with_head(methods))
