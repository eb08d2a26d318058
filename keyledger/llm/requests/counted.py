"""Asks for the token counts of a stream where a client did not, so that they are counted; the client gets none then.

Promises: only providers that ship with KeyLedger are asked, since an unknown server may refuse what it does not know;
azure is not, because older versions of its API do.
"""

from dataclasses import replace

from domain.credentials.built_in_providers import BUILT_IN
from domain.credentials.providers import Dialect, Provider
from keyledger.llm.requests.parameters import Request


def counted(request: Request, provider: Provider) -> Request:
    """Return a chat as it is sent to its provider."""
    asked = request.streaming and provider.dialect is Dialect.OPENAI and provider.accepts is None
    if not asked or provider.name not in BUILT_IN:
        return request
    options = request.parameters.get("stream_options") or {}
    return replace(request, parameters={**request.parameters, "stream_options": {**options, "include_usage": True}})
