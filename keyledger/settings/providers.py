"""The platform's own keys and addresses for providers, as settings that are named after the providers.

Promises: settings meet the same rules of the provider as a tenant's credential; addresses given by the operator may be
private or http, since the operator decides where keys go.
Refuses: incomplete configurations (a key without the settings it needs), addresses with user information or a query.
"""

from collections.abc import Mapping

from domain.credentials.pasted_key import pasting_warning
from domain.credentials.providers import (
    CONFIG_FIELDS,
    CredentialConfig,
    Provider,
    Providers,
    check,
    endpoint_rule_broken,
)
from domain.credentials.resolution import GlobalCredential
from domain.credentials.secret import Secret
from domain.endpoints.forms import kept_endpoint
from domain.endpoints.rules import OPERATORS_OWN
from domain.errors import InvalidRequestError
from keyledger.settings.sources import Sources

_ALSO = {"AZURE_DEPLOYMENT_NAME": ("AZURE_MODEL_DEPLOYMENT",)}
"""Other spellings of settings that are accepted."""


def read_base_urls(sources: Sources, providers: Providers) -> dict[str, str]:
    """Return, by provider, the addresses that replace the built-in ones; for vllm, that of the global server."""
    urls = {}
    for provider in providers.values():
        if "endpoint" in provider.required:
            continue
        name = provider.setting("base_url")
        url = sources.text(name)
        if url is None:
            continue
        if error := endpoint_rule_broken(provider, url, OPERATORS_OWN):
            sources.error(name, error)
        else:
            urls[provider.name] = kept_endpoint(provider.endpoint_form, url)
    return urls


def read_global_credentials(
    sources: Sources, providers: Providers, base_urls: Mapping[str, str]
) -> dict[str, GlobalCredential]:
    """Return the platform's keys by provider. base_urls: as `read_base_urls` returned them."""
    found = {name: _global_credential(sources, provider, base_urls) for name, provider in providers.items()}
    return {name: credential for name, credential in found.items() if credential is not None}


def _global_credential(sources: Sources, provider: Provider, base_urls: Mapping[str, str]) -> GlobalCredential | None:
    key_setting = provider.setting("api_key")
    secret = sources.secret(key_setting, shown=Secret.masked)
    names = {field: provider.setting(field) for field in CONFIG_FIELDS if field in provider.required}
    config = CredentialConfig(**{field: sources.text(name, also=_ALSO.get(name, ())) for field, name in names.items()})
    if secret is None:
        if config != CredentialConfig():
            sources.warn(key_setting, f"is not set, so {' and '.join(names.values())} have no effect")
        return None
    try:
        kept = check(provider, secret.reveal(), config, OPERATORS_OWN).config
    except InvalidRequestError as invalid:
        for error in invalid.fields:
            sources.error(provider.setting(error.field), error.rule)
        return None
    if not (config.endpoint or provider.base_url or provider.name in base_urls):
        if not sources.is_set(provider.setting("base_url")):  # else its own error was reported
            sources.error(key_setting, f"needs {provider.setting('base_url')}, the address of the server it is for")
        return None
    if warning := pasting_warning(secret.reveal()):
        sources.warn(key_setting, warning)
    return GlobalCredential(secret, kept.endpoint, kept.api_version, kept.deployment_name)
