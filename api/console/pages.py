"""Pages for people: `/` names the service and where to go next, `/docs` shows /openapi.json.

Promises: a page loads one stylesheet from this service and nothing else from anywhere, runs no script, and its
Content-Security-Policy allows neither. Everything from the document is escaped. The pages need no
authentication, so they contain nothing private. Links are relative, so they work behind a prefix that a proxy adds.
"""

from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from typing import Any, TypeVar

from fastapi import APIRouter, Request, Response
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from api.console.reference import groups_of
from api.front.json_response import encode, json_response
from api.front.operation import Operation
from api.rest.openapi import TITLE, answer

T = TypeVar("T")

router = APIRouter(route_class=Operation, tags=["operation"])

LINKS: Mapping[str, str] = {
    "documentation": "docs",
    "openapi": "openapi.json",
    "live": "livez",
    "ready": "readyz",
    "metrics": "metrics",
}
"""Public addresses below that of the service."""
_ABOUT = {
    "documentation": "Every operation, with examples",
    "openapi": "The same for programs (OpenAPI 3.1)",
    "live": "Whether the process lives",
    "ready": "Whether it can serve, check by check",
    "metrics": "Counters for Prometheus",
}
_POLICY = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_HEADERS = {"Content-Security-Policy": _POLICY, "Referrer-Policy": "no-referrer"}

_SHOWN = answer({"name": TITLE, "version": "0.1.0", "links": {name: f"/{path}" for name, path in LINKS.items()}})
_SHOWN["content"]["application/json"]["schema"] = {
    "type": "object",
    "required": ["name", "version", "links"],
    "properties": {
        "name": {"type": "string"},
        "version": {"type": "string"},
        "links": {"type": "object", "additionalProperties": {"type": "string"}},
    },
}
_SHOWN["content"]["text/html"] = {"schema": {"type": "string"}, "example": f"<!doctype html><title>{TITLE}</title>..."}


@router.get(
    "/",
    operation_id="index",
    summary="What this is",
    response_class=Response,
    response_model=None,
    responses={200: _SHOWN},
)
async def index(request: Request) -> Response:
    """Name the service, its version and where to go from here; as a page for clients that prefer HTML."""
    vary = {"Vary": "Accept"}
    if _prefers_page(request.headers.get("accept", "")):
        shown = [(path, name, _ABOUT[name]) for name, path in LINKS.items()]
        return _page(_rendered("index.html", title=TITLE, version=_version(), links=shown), vary)
    below = str(request.scope.get("root_path", "")).rstrip("/")
    links = {name: f"{below}/{path}" for name, path in LINKS.items()}
    return json_response({"name": TITLE, "version": _version(), "links": links}, vary)


@router.get("/docs", include_in_schema=False)
async def docs(request: Request) -> Response:
    """Show the OpenAPI document."""
    return _page(_made_once(request.app, "page", rendered_reference))


@router.get("/openapi.json", include_in_schema=False)
async def openapi(request: Request) -> Response:
    """Return the OpenAPI document."""
    return Response(_made_once(request.app, "text", encode), media_type="application/json")


@router.get("/docs.css", include_in_schema=False)
async def stylesheet() -> Response:
    """Return the style sheet of both pages."""
    return Response(_stylesheet(), media_type="text/css")


def _page(text: str, headers: Mapping[str, str] | None = None) -> Response:
    return Response(text, headers={**_HEADERS, **(headers or {})}, media_type="text/html")


def _made_once(app: Any, form: str, make: Callable[[Mapping[str, Any]], T]) -> T:
    """Return a form of the application's document. It is made once for each document: anyone may ask for it often."""
    document = app.openapi()
    if getattr(app.state, "documented", None) is not document:
        app.state.documented, app.state.forms = document, {}
    forms: dict[str, T] = app.state.forms
    if form not in forms:
        forms[form] = make(document)
    return forms[form]


def rendered_reference(document: Mapping[str, Any]) -> str:
    """Return an OpenAPI document as a page."""
    return _rendered("docs.html", info=document["info"], version=_version(), groups=groups_of(document))


def _prefers_page(accept: str) -> bool:
    """Say whether HTML is asked for by name, and JSON is not asked for more (RFC 9110 12.5.1)."""
    weights: dict[str, float] = {}
    for part in accept.lower().split(","):
        media, *parameters = (piece.strip() for piece in part.split(";"))
        weights[media] = next((_weight(one[2:]) for one in parameters if one.startswith("q=")), 1.0)
    return weights.get("text/html", 0) > weights.get("application/json", 0)


def _weight(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def _rendered(template: str, **shown: object) -> str:
    return _templates().get_template(template).render(**shown)


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("api.console"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["told"] = _told
    return environment


def _told(text: str) -> Markup:
    """Return a text with its parts in backticks marked up as code."""
    pieces = [
        Markup("<code>{}</code>").format(piece) if number % 2 else escape(piece)
        for number, piece in enumerate(text.split("`"))
    ]
    return Markup("").join(pieces)


@cache
def _stylesheet() -> bytes:
    return (files("api.console") / "templates" / "docs.css").read_bytes()


@cache
def _version() -> str:
    try:
        return version("keyledger")
    except PackageNotFoundError:  # the packages run from a folder and are not installed
        return "unknown"
