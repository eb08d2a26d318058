"""The least that anyone would write instead of us: an endpoint around LiteLLM, and one that passes requests on.

Both hold one key and know no tenants. They run under the same HTTP server, event loop and library versions as ours.
"""

import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse

from benchmarks.processes import Running, free_port, server

_KEY = "sk-benchmark-upstream-key"
_QUIET = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True",
    "LITELLM_MODE": "PRODUCTION",
}


@contextmanager
def bare_litellm(folder: Path, provider_port: int) -> Iterator[Running]:
    """Serve an endpoint that hands the body to `litellm.acompletion`."""
    with _served("litellm_app", folder, provider_port) as running:
        yield running


@contextmanager
def bare_pass_through(folder: Path, provider_port: int) -> Iterator[Running]:
    """Serve an endpoint that sends the body on with aiohttp, and the answer back as it comes."""
    with _served("pass_through_app", folder, provider_port) as running:
        yield running


@contextmanager
def _served(factory: str, folder: Path, provider_port: int) -> Iterator[Running]:
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "--factory", f"{__name__}:{factory}", "--port", str(port)]
    command += ["--no-access-log", "--log-level", "warning"]
    environment = _QUIET | {
        "UPSTREAM": f"http://127.0.0.1:{provider_port}/v1",
        "PYTHONPATH": str(Path(__file__).parents[1]),
    }
    with server(command, environment, folder, port, "/livez") as running:
        yield running


def litellm_app() -> FastAPI:
    """Return the endpoint around LiteLLM."""
    import litellm

    app, upstream = FastAPI(), os.environ["UPSTREAM"]

    @app.get("/livez")
    async def livez() -> dict[str, str]:
        return {"status": "alive"}

    @app.post("/")
    async def chat(request: Request) -> Any:
        body = await request.json()
        body["model"] = f"openai/{body['model']}"
        answer = await litellm.acompletion(**body, api_base=upstream, api_key=_KEY, num_retries=0, max_retries=0)
        if not body.get("stream"):
            return answer.model_dump(exclude_none=True)

        async def events() -> AsyncIterator[str]:
            async for chunk in answer:
                yield f"data: {chunk.model_dump_json(exclude_none=True)}\n\n"
            yield "data: [DONE]\n\n"

        return StreamingResponse(events(), media_type="text/event-stream")

    return app


def pass_through_app() -> FastAPI:
    """Return the endpoint that passes requests on."""
    import aiohttp

    upstream, opened = os.environ["UPSTREAM"], dict[str, aiohttp.ClientSession]()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as opened["session"]:
            yield

    app = FastAPI(lifespan=lifespan)

    @app.get("/livez")
    async def livez() -> dict[str, str]:
        return {"status": "alive"}

    @app.post("/")
    async def chat(request: Request) -> Response:
        body = await request.body()
        headers = {"Authorization": f"Bearer {_KEY}", "Content-Type": "application/json"}
        answer = await opened["session"].post(f"{upstream}/chat/completions", data=body, headers=headers)

        async def pieces() -> AsyncIterator[bytes]:
            async with answer:
                async for piece in answer.content.iter_any():
                    yield piece

        return StreamingResponse(pieces(), answer.status, media_type=answer.content_type)

    return app
