"""The platform's own keys and addresses for providers, as settings.

Promises: what passed fits the provider as exactly as a tenant's credential has to; an address of the operator may be
private or http, since the operator decides where keys go.
Refuses: half a configuration (a key without the settings it needs), addresses with user information or a query.
"""

from urllib.parse import urlsplit

from domain.endpoints import EndpointRules, endpoint_fault, origin_port
from domain.errors import InvalidCredential
from domain.providers import PROVIDERS, CredentialConfig, check, key_fault
from domain.resolution import GlobalCredential
from domain.secret import Secret
from keyledger.settings_sources import Sources

GLOBAL_KEYS = {
    "openai": "OPENAI_API_KEY",
    "anthropic": "ANTHROPIC_API_KEY",
    "mistral": "MISTRAL_API_KEY",
    "ovhcloud": "OVHCLOUD_API_KEY",
    "berget": "BERGET_API_KEY",
    "vllm": "VLLM_API_KEY",
}
BASE_URLS = {
    "openai": "OPENAI_API_BASE",
    "anthropic": "ANTHROPIC_API_BASE",
    "mistral": "MISTRAL_API_BASE",
    "ovhcloud": "OVHCLOUD_API_BASE",
    "berget": "BERGET_API_BASE",
    "vllm": "VLLM_MODEL_URL",
}
_AZURE = {
    "api_key": "AZURE_API_KEY",
    "endpoint": "AZURE_ENDPOINT",
    "api_version": "AZURE_API_VERSION",
    "deployment_name": "AZURE_DEPLOYMENT_NAME",
}


def read_base_urls(sources: Sources) -> dict[str, str]:
    """Return the addresses by provider that replace the built-in ones; for vllm it is the global server."""
    urls = {}
    for provider, name in BASE_URLS.items():
        url = sources.text(name)
        if url is None:
            continue
        if fault := endpoint_fault(url, _own_host(url)):
            sources.fault(name, fault)
        else:
            urls[provider] = url
    return urls


def read_global_credentials(sources: Sources) -> dict[str, GlobalCredential]:
    """Return the platform's keys by provider. Reads after the addresses."""
    found = {}
    for provider, name in GLOBAL_KEYS.items():
        secret = sources.secret(name, shown=Secret.masked)
        if secret is None:
            continue
        if fault := key_fault(PROVIDERS[provider], secret.reveal()):
            sources.fault(name, fault)
        elif provider == "vllm" and not sources.is_set(BASE_URLS["vllm"]):
            sources.fault(name, f"needs {BASE_URLS['vllm']}, the address of the server it is for")
        else:
            found[provider] = GlobalCredential(secret)
    if azure := _azure(sources):
        found["azure"] = azure
    return found


def _azure(sources: Sources) -> GlobalCredential | None:
    secret = sources.secret(_AZURE["api_key"], shown=Secret.masked)
    endpoint, api_version, deployment_name = (sources.text(name) for name in list(_AZURE.values())[1:])
    config = CredentialConfig(endpoint, api_version, deployment_name)
    if secret is None:
        if config != CredentialConfig():
            sources.warn(_AZURE["api_key"], "is not set, so the other AZURE_ settings have no effect")
        return None
    try:
        check(PROVIDERS["azure"], secret.reveal(), config, _own_host(endpoint or ""))
    except InvalidCredential as invalid:
        for fault in invalid.faults:
            sources.fault(_AZURE[fault.field], fault.rule)
        return None
    return GlobalCredential(secret, endpoint, api_version, deployment_name)


def _own_host(url: str) -> EndpointRules:
    """Return rules that allow the host of the operator's own address, whatever it is."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", origin_port(parts)
    except ValueError:
        return EndpointRules()  # `endpoint_fault` says what is wrong with it
    return EndpointRules.of([f"[{host}]:{port}" if ":" in host else f"{host}:{port}"])
