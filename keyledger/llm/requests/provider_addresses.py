"""The address of a provider's API and the header for its key, for LiteLLM's calls and for native ones.

An address is computed from the provider's row and the resolved route only, and holds no key.
Promises: every URL made from it lies below `base`, which has the origin of the route's base URL and is the same for all
spellings of it, or is one that the provider's row places elsewhere on the same server; an Azure deployment and API
version always come from the credential, never from the caller.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

from yarl import URL

from domain.calls.native_path import invalid_path, normalised_query
from domain.credentials.providers import Dialect, Provider
from domain.credentials.resolution import Route
from domain.endpoints.forms import EndpointForm, kept_endpoint
from domain.errors import ProviderUnavailableError
from keyledger.llm.requests.origin import BEARER, KeyHeader, Origin, origin_of

ANTHROPIC_VERSION = "2023-06-01"
"""The API version of calls that name none; Anthropic requires one."""

_VERSIONLESS_AZURE = frozenset({"v1", "latest", "preview"})
_DEPLOYMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_AZURE_PREFIX = re.compile(r"(?:openai/)?(?:v1/)?(?:deployments/[^/]+(?:/|$))*", re.IGNORECASE)
_OF_THE_ACCOUNT = frozenset(
    (
        *("assistants", "batches", "containers", "conversations", "evals", "files", "fine_tuning", "models"),
        *("responses", "threads", "uploads", "vector_stores"),
    )
)
"""Azure's resources outside deployments, by first path segment. Every other path belongs to a deployment."""


@dataclass(frozen=True, slots=True)
class ProviderAddress:
    """The address of one provider by one route.

    base: the URL that paths are appended to, without a trailing slash. deployment, api_version: for Azure only; without
    an `api_version`, the API is OpenAI's own (v1). elsewhere: the URLs of operations that are not below `base`.
    """

    origin: Origin
    header: KeyHeader
    base: str
    deployment: str | None = None
    api_version: str | None = None
    elsewhere: tuple[tuple[str, str], ...] = ()

    def operation(self, path: str) -> str:
        """Return the part of a path that names what is called: without version, and without an Azure deployment.

        path: normalised, without a leading slash. Raises InvalidRequestError.
        """
        if self.deployment is None:
            # Clients put the version in the path or in their base URL; here `base` already has it.
            return "" if path == "v1" else path.removeprefix("v1/")
        if "%2F" in path:
            raise invalid_path("must not contain escaped slashes for azure, where they could name another deployment")
        return _AZURE_PREFIX.sub("", path, count=1)

    def deployment_for(self, operation: str) -> str | None:
        """Return the deployment that the URL of an operation names; None if the body names the model."""
        if self.api_version is None or operation.partition("/")[0] in _OF_THE_ACCOUNT:
            return None
        return self.deployment

    def url(self, path: str, query: str) -> str:
        """Return the URL of a call. path: normalised, without a leading slash. Raises InvalidRequestError."""
        operation = self.operation(path)
        if self.deployment is None:
            for name, there in self.elsewhere:
                if operation == name or operation.startswith(f"{name}/"):
                    return _joined(there + operation.removeprefix(name), "", normalised_query(query))
            return _joined(self.base, operation, normalised_query(query))
        rest = normalised_query(query, "api-version")
        if self.api_version is None:
            return _joined(self.base, operation, rest)
        if (deployment := self.deployment_for(operation)) is not None:
            operation = f"deployments/{deployment}/{operation}".rstrip("/")
        version = f"api-version={self.api_version}"
        return _joined(self.base, operation, f"{version}&{rest}" if rest else version)

    def socket_url(self, path: str, query: str) -> str:
        """Return the URL of a WebSocket, with the scheme of HTTP. path, query: as for `url`.

        Raises InvalidRequestError. Azure's names the deployment in the query: always that of the credential where the
        address has a version, else by default.
        """
        if self.deployment is None:
            return self.url(path, query)
        operation = self.operation(path)
        if self.api_version is not None:
            rest = normalised_query(query, "api-version", "deployment", "model")
            own = f"api-version={self.api_version}&deployment={self.deployment}"
            return _joined(self.base, operation, f"{own}&{rest}" if rest else own)
        rest = normalised_query(query, "api-version", "deployment")
        if not any(part.partition("=")[0] == "model" for part in rest.split("&")):
            rest = f"model={self.deployment}&{rest}" if rest else f"model={self.deployment}"
        return _joined(self.base, operation, rest)


def provider_address(route: Route, deployment: str | None = None) -> ProviderAddress:
    """Return the address of a route's provider. deployment: for Azure, if the route names none.

    Raises ProviderUnavailableError for an incomplete route.
    """
    return _address(route.provider, route.base_url, route.api_version, route.deployment_name or deployment)


@lru_cache(maxsize=1024)
def _address(provider: Provider, base_url: str, api_version: str | None, deployment: str | None) -> ProviderAddress:
    base = kept_endpoint(provider.endpoint_form, base_url)
    origin = origin_of(URL(base, encoded=True))
    header = BEARER if provider.key_header == BEARER.name else KeyHeader(provider.key_header)
    if provider.dialect is Dialect.AZURE:
        return _azure(provider.name, origin, header, base, api_version, deployment)
    versioned = f"{base}/v1" if provider.endpoint_form is EndpointForm.ROOT else base
    return ProviderAddress(origin, header, versioned, elsewhere=_elsewhere(provider, base))


def _elsewhere(provider: Provider, base: str) -> tuple[tuple[str, str], ...]:
    """Return the URLs of operations that are not below a base address, as far as it has the provider's own path."""
    usual = URL(provider.base_url or "").raw_path.rstrip("/")
    if not base.endswith(usual):
        return ()
    return tuple((operation, f"{base.removesuffix(usual)}/{path}") for operation, path in provider.elsewhere)


def _azure(
    name: str, origin: Origin, header: KeyHeader, base: str, api_version: str | None, deployment: str | None
) -> ProviderAddress:
    if api_version is None:
        raise ProviderUnavailableError(name, "no-api-version-configured")
    # Other names could steer LiteLLM's routing or change the path.
    if deployment is None or not _DEPLOYMENT.fullmatch(deployment):
        raise ProviderUnavailableError(name, "deployment-name-not-usable")
    if api_version in _VERSIONLESS_AZURE:
        return ProviderAddress(origin, BEARER, f"{base}/openai/v1", deployment)
    return ProviderAddress(origin, header, f"{base}/openai", deployment, api_version)


def _joined(base: str, below: str, query: str) -> str:
    address = f"{base}/{below}" if below else base
    return f"{address}?{query}" if query else address
