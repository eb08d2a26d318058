"""The address space of the service, for layers that decide before routing.

Promises: the path examined here is the path that routing matches, also behind a proxy prefix (`root_path`).
"""

import re
from urllib.parse import quote

from starlette.datastructures import QueryParams
from starlette.types import Scope

from domain.calls.openai_routes import PATH
from domain.credentials.providers import NAME_PATTERN

UUID_PATTERN = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
SYSADMIN = "/api/v1/sysadmin/tenants/{tenant_id}"
OWN_TENANT = "/api/v1/tenants/{tenant_id}"
FLEET = "/api/v1/sysadmin"
AUDIT = "/api/v1/audit"
ENCRYPTION_KEYS = "/api/v1/sysadmin/encryption-keys"
PROJECTIONS = "/api/v1/sysadmin/projections"
ACCESS_KEYS = "/api/v1/sysadmin/access-keys"
PROPOSALS = "/api/v1/sysadmin/proposals"
RELOAD = "/api/v1/reload"
AUTH = "/auth"
OPENAI = "/api/v1/tenants/{tenant_id}/openai/v1"
ANTHROPIC = "/api/v1/tenants/{tenant_id}/anthropic/v1"
NATIVE = "/api/v1/tenants/{tenant_id}/providers/{provider}/{path}"
WEB_SOCKET = "/api/v1/tenants/{tenant_id}/providers/{provider}/{path} (WebSocket)"
"""The same where the connection becomes a WebSocket, in logs and metrics: its requests last for hours."""

_ABOUT_CREDENTIALS = re.compile(
    "/api/v1/(?:sysadmin/|audit/|tenants/[^/]+/(?:credentials|usage|audit)(?:/|$)).*", re.DOTALL
)
_CREDENTIAL = re.compile(
    rf"/api/v1/(?:sysadmin/)?tenants/(?P<tenant>{UUID_PATTERN[1:-1]})/credentials/(?P<provider>{NAME_PATTERN})"
)
_PLACE = re.compile(
    "/api/v1/(?:sysadmin/)?tenants/(?P<tenant>[^/]+)(?:/(?:credentials|providers)/(?P<provider>[^/]+))?(?:/.*)?",
    re.DOTALL,
)
_NAMED_IN_QUERY = frozenset(
    {
        "/api/v1/audit/entries",
        "/api/v1/audit/usage",
        "/api/v1/audit/usage/tokens",
        "/api/v1/audit/export",
        "/api/v1/sysadmin/credentials",
    }
)
_CALL = re.compile("/api/v1/tenants/[^/]+/openai/v1/(?:chat/completions|embeddings)", re.DOTALL)
_RELAYED = re.compile(f"/api/v1/tenants/(?P<tenant>[^/]+)/openai/v1/(?P<path>{PATH.pattern})")
_MODELS = re.compile("/api/v1/tenants/[^/]+/openai/v1/models(?:/.*)?", re.DOTALL)
_MESSAGES = re.compile("/api/v1/tenants/[^/]+/anthropic/v1/messages(?:/count_tokens)?", re.DOTALL)
_SPEAKS_ANTHROPIC = re.compile("/api/v1/tenants/[^/]+/anthropic/.*", re.DOTALL)
_SPEAKS_OPENAI = re.compile("/api/v1/tenants/[^/]+/openai/.*", re.DOTALL)
_NATIVE = re.compile("/api/v1/tenants/[^/]+/providers/.*", re.DOTALL)


def routed_path(scope: Scope) -> str:
    """Return the decoded path below the prefix that a proxy in front may have added."""
    path, prefix = str(scope["path"]), str(scope.get("root_path", ""))
    below = path.removeprefix(prefix)
    return below if prefix and (not below or below.startswith("/")) else path


def is_guarded(path: str) -> bool:
    """Say whether a path needs authentication: all of /api does, known or not."""
    return path == "/api" or path.startswith("/api/")


def is_about_sessions(path: str) -> bool:
    """Say whether a path is for people who sign in or out. They need no key."""
    return path.startswith(f"{AUTH}/")


def is_about_credentials(path: str) -> bool:
    """Say whether a path is for administrators, also a tenant's own, or for auditors."""
    return _ABOUT_CREDENTIALS.fullmatch(path) is not None


def is_switched(path: str) -> bool:
    """Say whether TENANT_CREDENTIALS_ENABLED switches a path: access keys are there without the feature."""
    return is_about_credentials(path) and not path.startswith(ACCESS_KEYS)


def credential_in(path: str) -> tuple[str, str] | None:
    """Return tenant and provider of the path of one credential, or None."""
    found = _CREDENTIAL.fullmatch(path)
    return (found["tenant"], found["provider"]) if found else None


def named_in(scope: Scope, path: str) -> tuple[str | None, str | None]:
    """Return the tenant and the provider that a request names in its path, or in its query where that limits it."""
    if path in _NAMED_IN_QUERY:
        query = QueryParams(scope["query_string"])
        return query.get("tenant_id"), query.get("provider")
    found = _PLACE.fullmatch(path)
    return (found["tenant"], found["provider"]) if found else (None, None)


def is_call(method: str, path: str) -> bool:
    """Say whether a request is a call to a model, whose key is resolved after its body is read."""
    if method == "POST" and (_CALL.fullmatch(path) is not None or _MESSAGES.fullmatch(path) is not None):
        return True
    return is_native(path) or is_relayed(path)


def lists_models(path: str) -> bool:
    """Say whether a path shows models of the catalogue."""
    return _MODELS.fullmatch(path) is not None


def speaks_openai(path: str) -> bool:
    """Say whether OpenAI clients call this path, so that errors must be in their form too."""
    return _SPEAKS_OPENAI.fullmatch(path) is not None


def speaks_anthropic(path: str) -> bool:
    """Say whether clients of Anthropic's API call this path, so that errors must be in their form too."""
    return _SPEAKS_ANTHROPIC.fullmatch(path) is not None


def calls_models(path: str) -> bool:
    """Say whether a path is for applications that call models, in any form of API."""
    return is_native(path) or speaks_openai(path) or speaks_anthropic(path)


def is_native(path: str) -> bool:
    """Say whether a path belongs to a provider's own API."""
    return _NATIVE.fullmatch(path) is not None


def is_relayed(path: str) -> bool:
    """Say whether a path belongs to a route of OpenAI's API that is relayed."""
    return _RELAYED.fullmatch(path) is not None


def relayed_target(path: str) -> tuple[str, str]:
    """Return the tenant of a path that is relayed, and the rest below `.../openai/v1/`."""
    found = _RELAYED.fullmatch(path)
    assert found is not None  # noqa: S101  `is_relayed` said so
    return found["tenant"], found["path"]


def raw_path(scope: Scope) -> str:
    """Return the routed path as it was sent, with its escapes."""
    raw = scope.get("raw_path")
    if raw is None:  # optional in ASGI; without it escapes are lost, so every special character is escaped
        return quote(routed_path(scope), safe="/")
    text, prefix = bytes(raw).decode("latin-1"), str(scope.get("root_path", ""))
    below = text.removeprefix(prefix)
    return below if prefix and below.startswith("/") else text
