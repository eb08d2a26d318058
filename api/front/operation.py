"""The one way from a routed request to its handler and back.

A handler declares what it needs in its signature, in FastAPI's terms, and the OpenAPI document is generated from that.
FastAPI's own request handling is not used: it would parse the body a second time and validate the answer, which costs
more than setting or listing a credential. Instead, each signature is analysed once, when the application is built.
Promises: dependencies run first, in their order, each once per request; path and query parameters and the body are then
validated as declared, and everything wrong with them is reported in one error. The body is the one that was parsed
already (`Exchange.body`). A dependency must not block; a handler that is a plain function runs in a thread. A handler
returns a pydantic model or a complete response.
Refuses, when the application is built: cookies, files, several bodies, and dependencies that are coroutines or yield.
Header parameters exist for the document only. Code that needs a header reads it from the request, because a repeated
header is one list.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction
from typing import Any, cast

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool
from starlette.types import Receive, Scope, Send

from api.front.exchange import exchange_of
from api.front.json_response import ascii_json

_INVALID = object()
"""Stands for the result of a dependency that was not called because its parameters are invalid."""


class Operation(APIRoute):
    """A path with its methods and the handler that serves them."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Take what `fastapi.routing.APIRoute` takes. Raises TypeError for a signature that is not supported."""
        super().__init__(*args, **kwargs)
        self._dependencies: list[_Function] = []
        self._handler = self._function(self.dependant)
        self._blocks = not iscoroutinefunction(self._handler.call)
        for function in self._dependencies:
            if iscoroutinefunction(function.call):
                raise TypeError(f"the dependency {function.call.__name__} must be a plain function")

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request.

        Raises RequestValidationError, HTTPException for another method, and whatever dependencies and handler raise.
        """
        if scope["method"] not in (self.methods or ()):
            await super().handle(scope, receive, send)
            return
        call = _Call(Request(scope, receive), Response(None, self.status_code or 200, media_type="application/json"))
        for function in self._dependencies:
            arguments = function.arguments(call)
            call.results.append(_INVALID if arguments is None else function.call(**arguments))
        arguments = self._handler.arguments(call)
        if arguments is None or call.errors:
            raise RequestValidationError(call.errors)
        if self._blocks:
            result = await run_in_threadpool(self._handler.call, **arguments)
        else:
            result = await cast(Awaitable[Any], self._handler.call(**arguments))
        await (result if isinstance(result, Response) else call.answered(result))(scope, receive, send)

    def _function(self, declared: Any) -> "_Function":
        """Return a function with its parameters; its dependencies come first in `self._dependencies`."""
        needs: list[tuple[str | None, int]] = []
        for one in declared.dependencies:
            known = [function.call for function in self._dependencies]
            if one.call not in known:
                self._dependencies.append(self._function(one))
                known = [function.call for function in self._dependencies]
            needs.append((one.name, known.index(one.call)))
        return _Function(declared, needs)


class _Call:
    """One request on its way to the handler.

    response: the answer to be; a handler may set headers on it. results: of the dependencies, in their order.
    errors: everything that is wrong with the request so far.
    """

    __slots__ = ("errors", "request", "response", "results")

    def __init__(self, request: Request, response: Response) -> None:
        self.request = request
        self.response = response
        self.results: list[Any] = []
        self.errors: list[Mapping[str, Any]] = []

    def answered(self, content: Any) -> Response:
        """Return the response with the JSON of a model as its body."""
        self.response.body = ascii_json(content.model_dump_json(by_alias=True, ensure_ascii=True))
        self.response.headers["Content-Length"] = str(len(self.response.body))
        return self.response


class _Function:
    """A handler or a dependency, and where its arguments come from."""

    __slots__ = ("_body", "_needs", "_path", "_query", "_request", "_response", "call")

    def __init__(self, declared: Any, needs: Sequence[tuple[str | None, int]]) -> None:
        """declared: the signature as FastAPI analysed it. needs: parameters, and which dependency each comes from."""
        self.call: Callable[..., Any] = declared.call
        several = len(declared.body_params) > 1
        if several or declared.cookie_params or isgeneratorfunction(self.call) or isasyncgenfunction(self.call):
            raise TypeError(f"the signature of {self.call.__name__} is not supported")
        self._needs = needs
        self._path = list(declared.path_params)
        self._query = list(declared.query_params)
        self._body = list(declared.body_params)
        self._request: str | None = declared.request_param_name
        self._response: str | None = declared.response_param_name

    def arguments(self, call: _Call) -> dict[str, Any] | None:
        """Return the arguments; None, with the reasons in `call.errors`, where the request is invalid."""
        arguments: dict[str, Any] = {}
        request, before = call.request, len(call.errors)
        for name, index in self._needs:
            if (needed := call.results[index]) is _INVALID:
                return None
            if name is not None:
                arguments[name] = needed
        for field in self._path:
            arguments[field.name] = _validated(field, request.path_params.get(field.alias), ("path", field.alias), call)
        sent = request.query_params if self._query and request.scope["query_string"] else {}
        for field in self._query:
            arguments[field.name] = _validated(field, sent.get(field.alias), ("query", field.alias), call)
        for field in self._body:
            arguments[field.name] = _validated(field, exchange_of(request.scope).body, ("body",), call)
        if self._request is not None:
            arguments[self._request] = request
        if self._response is not None:
            arguments[self._response] = call.response
        return arguments if len(call.errors) == before else None


def _validated(field: Any, value: object, place: tuple[str, ...], call: _Call) -> Any:
    if value is None:
        if field.field_info.is_required():
            call.errors.append({"type": "missing", "loc": place})
        return field.get_default()
    validated, errors = field.validate(value, {}, loc=place)
    call.errors.extend(errors)
    return validated
