"""Reduces an endpoint, in whichever spelling it was pasted, to the one form that is stored.

Portals and documentation show the addresses of single operations. The stored form is the base address of the provider's
API, to which each call appends its operation. The forms:

    VERSIONED  https://host/v1, https://host/prefix     OpenAI's own API and those like it
    ENDED      https://host/v1, https://host/prefix/v1  Mistral, where LiteLLM appends a missing version
    BARE       https://host, https://host/prefix        providers without a version in their address
    ROOT       https://host, https://host/prefix        Anthropic, vLLM: a call appends the version
    AZURE      https://resource.openai.azure.com        deployment and version are separate fields

Promises: scheme and host in lower case, no default port, no slash at the end, no known operation at the end; a
stored form stays unchanged when it is reduced again; a gateway's own prefix stays.
Refuses: Azure addresses that lead to another API; the error names the form to use. Endpoints must have passed
`rules.endpoint_error`.
"""

import re
from collections.abc import Callable
from enum import StrEnum
from urllib.parse import SplitResult, urlsplit

from domain.endpoints.addresses import address_in


class EndpointForm(StrEnum):
    """The form in which a provider's endpoints are stored."""

    VERSIONED = "versioned"
    ENDED = "ended"
    BARE = "bare"
    ROOT = "root"
    AZURE = "azure"


_VERSION = "/v1"
_OPERATION = re.compile(
    r"/(?:(?:chat/|fim/|agents/)?completions(?:/render)?|embeddings|responses|moderations"
    r"|messages(?:/count_tokens|/batches)?|audio/(?:speech|transcriptions|translations)|images/(?:generations|edits)"
    r"|tokenize|detokenize|invocations)$"
)
_BEHIND_THE_VERSION = re.compile(
    r"(?<=/v1)/(?:files|batches|complete|rerank|score|classify|pooling|realtime|ocr|assistants|threads|vector_stores"
    r"|fine_tuning/jobs|models(?:/(?!v[0-9]+$)[^/]+){0,2})$"
)
"""Words that could be a gateway's own prefix, except directly after the version. A model's id may have one slash."""
_SECOND_VERSION = re.compile(r"/v2/(?:rerank|embed)$")
"""Operations with Cohere's paths, on a server whose other operations are in version 1."""
_PAGE = re.compile(
    r"/(?:docs|redoc|openapi\.json|health|ping|version|metrics|load|server_info"
    r"|generate|pooling|classify|score|rerank|api/(?:chat|generate|tags|version|embed))"
)
"""Whole paths of a self-hosted server's pages and operations without a version."""

_AZURE_OPERATION = (
    r"(?:/(?:chat/completions|completions|embeddings|responses|models|files|batches|assistants|threads|realtime"
    r"|audio/(?:speech|transcriptions|translations)|images/(?:generations|edits)))?"
)
_DEPLOYMENT = r"(?:/openai)?/deployments/(?P<deployment>[^/]+)"
_AZURE_TAIL = re.compile(rf"(?:(?:/openai)?/v1|/openai|{_DEPLOYMENT}){_AZURE_OPERATION}$", re.IGNORECASE)
_FOUNDRY_TAIL = re.compile(r"(?:/models(?:/chat/completions|/embeddings)?|/api/projects/[^/]+)$", re.IGNORECASE)
_AZURE_HOST = re.compile(
    r".+\.(?:openai|cognitiveservices|services\.ai)\.azure\.(?:com|us|cn)|.+\.api\.cognitive\.microsoft\.com"
)
_AZURE_WANTED = "write the resource alone, such as https://RESOURCE.openai.azure.com"


def canonical_endpoint(form: EndpointForm, endpoint: str) -> str:
    """Return the stored form of an endpoint. Raises ValueError; its text names the form to use."""
    url = urlsplit(endpoint)
    path = "".join(f"/{segment}" for segment in url.path.split("/") if segment)
    if form is EndpointForm.AZURE:
        path = _azure_path(url.hostname or "", path)
    elif form is EndpointForm.ROOT:
        path = _without(_operation_or_version, path)
    else:
        path = _without(_operation, path)
    if form is EndpointForm.VERSIONED:
        path = path or _VERSION
    elif form is EndpointForm.ENDED:
        path = path.removesuffix(_VERSION) + _VERSION
    return f"{url.scheme}://{_host_and_port(url)}{path}"


def kept_endpoint(form: EndpointForm, endpoint: str) -> str:
    """Return the stored form of an endpoint, or the endpoint without trailing slashes if it has none.

    It also applies to endpoints that were stored or configured before there were forms.
    """
    try:
        return canonical_endpoint(form, endpoint)
    except ValueError:
        return endpoint.rstrip("/")


def deployment_in(endpoint: str) -> str | None:
    """Return the deployment named in an Azure address, or None."""
    tail = _AZURE_TAIL.search(urlsplit(endpoint).path.rstrip("/"))
    return tail["deployment"] if tail else None


def _host_and_port(url: SplitResult) -> str:
    host = (url.hostname or "").lower()
    if ":" in host:
        host = f"[{address_in(host) or host}]"
    default = {"https": 443, "http": 80}.get(url.scheme)
    return host if url.port in {None, default} else f"{host}:{url.port}"


def _azure_path(host: str, path: str) -> str:
    its_own = _AZURE_HOST.fullmatch(host.lower()) is not None
    if its_own and re.search(r"/anthropic(?:/|$)", path, re.IGNORECASE):
        raise ValueError(f"leads to Claude's own API, which is the provider anthropic; for azure {_AZURE_WANTED}")
    path = _without(lambda longer: _AZURE_TAIL.sub("", longer), path)
    if its_own:
        path = _without(lambda longer: _FOUNDRY_TAIL.sub("", longer), path)
    if its_own and path:
        raise ValueError(f"has a path that azure does not need; {_AZURE_WANTED}")
    return path


def _operation(path: str) -> str:
    return _BEHIND_THE_VERSION.sub("", _OPERATION.sub("", path))


def _operation_or_version(path: str) -> str:
    if _PAGE.fullmatch(path):
        return ""
    return _SECOND_VERSION.sub("", _operation(path)).removesuffix(_VERSION)


def _without(taken_off: Callable[[str], str], path: str) -> str:
    """Apply `taken_off` until it removes nothing."""
    while (shorter := taken_off(path)) != path:
        path = shorter
    return path
