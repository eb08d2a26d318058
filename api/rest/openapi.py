"""The parts of /openapi.json that the framework cannot derive: problems, examples, authentication.

Promises: every operation has its own id, set by hand, documents each status it can give, and shows one example of its
answer (and of its request where it has one).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from api.front.problems import HTTP_ROWS, MEDIA_TYPE, SERVICE_ROWS, VARIANTS, Row
from api.front.services import Services
from api.rest.examples import REQUEST_ID

TITLE = "KeyLedger"
VERSION = "1"

ETAG: Mapping[str, Any] = {"ETag": {"description": 'The version, such as `"v3"`.', "schema": {"type": "string"}}}
_ALWAYS = (
    "unauthenticated",
    "access-key-refused",
    "token-refused",
    "session-ended",
    "csrf-token-missing",
    "issuer-unavailable",
    "access-limit-reached",
    "forbidden",
    "outside-scope",
    "not-found",
    "invalid-request",
    "locked-out",
    "limit-reached",
    "internal-error",
)
BODY = ("malformed-json", "unsupported-media-type", "body-too-large", "request-timeout")
ADMIN = (*_ALWAYS, "feature_disabled", "log-contradicted", "store-unavailable")
COMMAND = (
    "malformed-header",
    "unknown-provider",
    "version-conflict",
    "idempotency-key-reused",
    "tenant-frozen",
    "tenant-not-registered",
    "outside-policy",
    "credential-integrity",
)
CHECKED = (
    "key-not-checked",
    "no-credential",
    "provider-refused",
    "provider-rate-limited",
    "provider-timeout",
    "provider-unavailable",
)
TENANT = ("malformed-header", "version-conflict", "idempotency-key-reused", "credential-integrity")
ACCESS_KEY = ("malformed-header", "version-conflict", "idempotency-key-reused", "credential-integrity")
CATALOGUE = (*_ALWAYS, "unknown-model")
CALL = (
    "budget-reached",
    "model-without-price",
    *CATALOGUE,
    *BODY,
    "tenant-frozen",
    "tenant-not-registered",
    "outside-policy",
    "no-credential",
    "credential-unreadable",
    "credential-integrity",
    "credential-rejected",
    "provider-refused",
    "provider-rate-limited",
    "provider-timeout",
    "provider-unavailable",
    "provider-busy",
    "store-unavailable",
)

NATIVE_CALL = (
    *_ALWAYS,
    "budget-reached",
    "model-without-price",
    "unknown-provider",
    "unknown-model",
    "invalid-path",
    "account-route-closed",
    "global-key-not-allowed",
    "malformed-header",
    "malformed-json",
    "upgrade-refused",
    "body-too-large",
    "request-timeout",
    "tenant-frozen",
    "tenant-not-registered",
    "outside-policy",
    "no-credential",
    "credential-unreadable",
    "credential-integrity",
    "credential-rejected",
    "provider-timeout",
    "provider-unavailable",
    "provider-busy",
    "store-unavailable",
)
RECEIPT: Mapping[str, Any] = {
    "X-Credential-Source": {"description": "Whose key served it.", "schema": {"enum": ["tenant", "global"]}},
    "X-Credential-Version": {"description": "Of the tenant's credential.", "schema": {"type": "integer"}},
    "X-Credential-Key-Id": {"description": "Of the tenant's credential.", "schema": {"type": "string"}},
}

_CODES: Mapping[str, Row] = {**{code.value: row for code, row in SERVICE_ROWS.items()}, **HTTP_ROWS}
_STRING = {"type": "string"}
_PROBLEM_SCHEMA: Mapping[str, Any] = {
    "title": "Problem",
    "description": "RFC 9457. `errors` lists the invalid fields of a request, `current_version` what a conflict met; "
    "`error` is there for OpenAI clients, on their paths only.",
    "type": "object",
    "required": ["type", "title", "status", "detail", "instance", "code"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference"},
        "title": _STRING,
        "status": {"type": "integer"},
        "detail": _STRING,
        "instance": _STRING,
        "code": {"type": "string", "enum": sorted(_CODES)},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["pointer", "field", "detail"],
                "properties": {"pointer": _STRING, "field": _STRING, "detail": _STRING},
            },
        },
        "current_version": {"type": "integer"},
        "provider_status": {"type": "integer"},
        "provider_code": {
            "type": "string",
            "description": "The provider's own code, out of a closed list, such as `context_length_exceeded`.",
        },
        "error": {
            "type": "object",
            "required": ["message", "type", "code", "param"],
            "properties": {"message": _STRING, "type": _STRING, "code": _STRING, "param": {"type": "null"}},
        },
    },
}
_SECURITY_SCHEMES: Mapping[str, Any] = {
    "ApiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "Bearer": {"type": "http", "scheme": "bearer"},
}


def problems(*codes: str) -> dict[int | str, dict[str, Any]]:
    """Return the documentation of the problems with these codes, by status."""
    by_status: dict[int, list[str]] = {}
    for code in dict.fromkeys(codes):
        for status in sorted({_CODES[code].status, *VARIANTS.get(code, ())}):
            by_status.setdefault(status, []).append(code)
    return {status: _problem_answer(status, by_status[status]) for status in sorted(by_status)}


def answer(example: object, headers: Mapping[str, Any] | None = None, description: str = "Done.") -> dict[str, Any]:
    """Return the documentation of a successful answer: its example and its headers."""
    shown: dict[str, Any] = {"description": description, "content": {"application/json": {"example": example}}}
    return {**shown, "headers": dict(headers)} if headers else shown


def document(
    app: FastAPI, extra: Callable[[], Mapping[str, Mapping[str, Any]]], services: Callable[[], Services]
) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of the application, kept while the providers are the same.

    extra: returns the path items without a route; called only when the document is made, because that takes longer
    than the rest of a start of the application.
    """
    providers = services().providers
    if not app.openapi_schema or app.state.documented_providers != providers:
        app.state.documented_providers = providers
        built = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        built["paths"].update({path: dict(item) for path, item in extra().items()})
        components = built.setdefault("components", {})
        components["securitySchemes"] = dict(_SECURITY_SCHEMES)
        components.setdefault("schemas", {})["Problem"] = dict(_PROBLEM_SCHEMA)
        for path, operations in built["paths"].items():
            if path.startswith("/api/"):
                for operation in operations.values():
                    operation["security"] = [{name: []} for name in _SECURITY_SCHEMES]
                    _name_providers(operation, list(providers))
        app.openapi_schema = built
    return app.openapi_schema


def _name_providers(operation: Mapping[str, Any], names: Sequence[str]) -> None:
    for parameter in operation.get("parameters", ()):
        if (parameter["in"], parameter["name"]) == ("path", "provider"):
            parameter["schema"] = {**parameter["schema"], "enum": names}


def _problem_answer(status: int, codes: Sequence[str]) -> dict[str, Any]:
    code, row = codes[0], _CODES[codes[0]]
    example = {
        "type": f"/problems/{code}",
        "title": row.title,
        "status": status,
        "detail": "What went wrong, and what to do about it.",
        "instance": f"urn:request:{REQUEST_ID}",
        "code": code,
    }
    schema = {"$ref": "#/components/schemas/Problem"}
    described: dict[str, Any] = {
        "description": "; ".join(f"{_CODES[code].title} (`{code}`)" for code in codes) + ".",
        "content": {MEDIA_TYPE: {"schema": schema, "example": example}},
    }
    if status in {429, 503}:
        described["headers"] = {"Retry-After": {"description": "In seconds.", "schema": {"type": "integer"}}}
    return described
