"""The closed table of providers, and what a credential for each must hold.

Promises: a credential that passed `check` has every field its provider needs and none it does not use, in a form that
cannot change the meaning of a URL or a header.
Refuses: unknown providers, blank or unprintable keys, blank fields, fields without a use. Faults are collected, so that
a caller sees all of them at once; no fault repeats a value.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType

from domain.endpoints import EndpointRules, endpoint_fault
from domain.errors import FieldFault, InvalidCredential, UnknownProvider
from domain.secret import Secret

KEY_MIN, KEY_MAX = 8, 4096
_KEY = re.compile(r"[\x21-\x7e]+")
_API_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,63}")
_DEPLOYMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class Provider:
    """One provider. `base_url` is None where there is no public service: the endpoint must come from somewhere else.

    required, optional: which of endpoint, api_version and deployment_name a credential must and may have.
    key_min: characters of its shortest key. self_hosted: its servers are the operator's or the tenant's own, so that
    private addresses and http are ordinary.
    """

    name: str
    base_url: str | None
    required: frozenset[str] = frozenset()
    optional: frozenset[str] = frozenset({"endpoint"})
    key_min: int = KEY_MIN
    self_hosted: bool = False


_AZURE_FIELDS = frozenset({"endpoint", "api_version", "deployment_name"})

PROVIDERS: Mapping[str, Provider] = MappingProxyType(
    {
        provider.name: provider
        for provider in (
            Provider("openai", "https://api.openai.com/v1"),
            Provider("anthropic", "https://api.anthropic.com"),
            Provider("mistral", "https://api.mistral.ai/v1"),
            Provider("ovhcloud", "https://oai.endpoints.kepler.ai.cloud.ovh.net/v1"),
            Provider("berget", "https://api.berget.ai/v1"),
            Provider("azure", None, required=_AZURE_FIELDS, optional=frozenset()),
            # vLLM takes whatever key it was started with; "EMPTY" is what its own documentation sends.
            Provider("vllm", None, key_min=1, self_hosted=True),
        )
    }
)


@dataclass(frozen=True, slots=True)
class CredentialConfig:
    """The settings of a credential that are not secret, as they were set."""

    endpoint: str | None = None
    api_version: str | None = None
    deployment_name: str | None = None


CONFIG_FIELDS = tuple(field.name for field in fields(CredentialConfig))


def provider_named(name: str) -> Provider:
    """Return the provider called `name`. Raises UnknownProvider."""
    try:
        return PROVIDERS[name]
    except KeyError:
        raise UnknownProvider(tuple(PROVIDERS)) from None


def check(provider: Provider, api_key: str, config: CredentialConfig, rules: EndpointRules) -> Secret:
    """Return the key as a secret, stripped of surrounding white space, when key and settings fit the provider.

    rules: which endpoints tenants may name. Raises InvalidCredential with every fault found.
    """
    faults = []
    secret = api_key.strip()
    if fault := key_fault(provider, secret):
        faults.append(FieldFault("api_key", fault))
    found = {field: _config_fault(provider, field, getattr(config, field), rules) for field in CONFIG_FIELDS}
    faults += [FieldFault(field, fault) for field, fault in found.items() if fault]
    if faults:
        raise InvalidCredential(faults)
    return Secret(secret)


def key_fault(provider: Provider, secret: str) -> str | None:
    """Return what is wrong with a provider's API key, or None. `secret` has no surrounding white space."""
    if not secret:
        return "is empty; send the provider's API key"
    if not provider.key_min <= len(secret) <= KEY_MAX:
        return f"must have {provider.key_min} to {KEY_MAX} characters"
    if not _KEY.fullmatch(secret):
        return "must hold printable ASCII characters only, without spaces"
    return None


def _config_fault(provider: Provider, field: str, value: str | None, rules: EndpointRules) -> str | None:
    if value is None:
        return f"is required for {provider.name}" if field in provider.required else None
    if field not in provider.required | provider.optional:
        return f"is not used by {provider.name}; leave it out"
    if not value.strip():
        return "is empty; leave it out or give a value"
    if field == "endpoint":
        return endpoint_fault(value, rules)
    if field == "api_version":
        valid, form = _API_VERSION.fullmatch(value), "letters, digits, dots and dashes, at most 64, such as 2024-10-21"
    else:
        valid, form = _DEPLOYMENT.fullmatch(value), "letters, digits, dots, dashes and underscores, at most 64"
    return None if valid else f"must be made of {form}"
