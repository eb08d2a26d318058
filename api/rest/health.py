"""Liveness, readiness and metrics. They need no authentication, so they contain nothing private."""

import asyncio

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.concurrency import run_in_threadpool

from api.front.check_result import CheckResult
from api.front.json_response import json_response
from api.front.operation import Operation
from api.front.services import ServicesOf
from api.rest.openapi import answer

router = APIRouter(route_class=Operation, tags=["operation"])

READINESS_SECONDS = 5.0
_CHECKS_SCHEMA = {
    "type": "object",
    "required": ["status", "checks"],
    "properties": {
        "status": {"enum": ["ready", "not-ready"]},
        "checks": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "required": ["ok", "text"],
                "properties": {"ok": {"type": "boolean"}, "text": {"type": "string"}},
            },
        },
    },
}
_ALIVE = answer({"status": "alive"}, description="The process answers.")
_ALIVE["content"]["application/json"]["schema"] = {
    "type": "object",
    "required": ["status"],
    "properties": {"status": {"const": "alive"}},
}
_READY = answer({"status": "ready", "checks": {"store": {"ok": True, "text": "answers"}}}, description="Can serve.")
_NOT_READY = answer(
    {"status": "not-ready", "checks": {"store": {"ok": False, "text": "does not answer"}}}, description="Cannot serve."
)
for _shown in (_READY, _NOT_READY):
    _shown["content"]["application/json"]["schema"] = _CHECKS_SCHEMA
_COUNTERS = {
    "description": "Counters in the text format of Prometheus.",
    "content": {"text/plain": {"schema": {"type": "string"}, "example": "keyledger_http_requests_total 1.0\n"}},
}


@router.get(
    "/livez",
    operation_id="livez",
    summary="Whether the process lives",
    response_class=Response,
    response_model=None,
    responses={200: _ALIVE},
)
async def livez() -> Response:
    """Answer without asking anything else, the database least of all."""
    return json_response({"status": "alive"})


@router.get(
    "/readyz",
    operation_id="readyz",
    summary="Whether it can serve",
    response_class=Response,
    response_model=None,
    responses={200: _READY, 503: _NOT_READY},
)
async def readyz(services: ServicesOf) -> Response:
    """Run the named checks."""
    try:
        async with asyncio.timeout(READINESS_SECONDS):
            checks = dict(await services.readiness())
    except TimeoutError:
        checks = {"checks": CheckResult(False, f"no result within {READINESS_SECONDS:g} s")}
    ready = all(result.ok for result in checks.values())
    shown = {name: {"ok": result.ok, "text": result.text} for name, result in checks.items()}
    return json_response({"status": "ready" if ready else "not-ready", "checks": shown}, status=200 if ready else 503)


@router.get(
    "/metrics",
    operation_id="metrics",
    summary="Counters",
    response_class=Response,
    response_model=None,
    responses={200: _COUNTERS},
)
async def metrics(services: ServicesOf) -> Response:
    """Return the counters of this process."""
    # Collectors of other packages may query the database.
    text = await run_in_threadpool(generate_latest, services.registry)
    return Response(text, media_type=CONTENT_TYPE_LATEST)
