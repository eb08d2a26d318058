"""The table of providers, and the check of a credential against its provider's row.

Everything that differs between providers is in their rows. Settings, addresses, plans and documentation are computed
from them, so an operator's own row (`providers.yml`) works everywhere that a built-in one does.
Promises: a credential that passed `check` has every field its provider needs and none that it does not use, in a form
that cannot change the meaning of a URL or a header.
Refuses: unknown providers, blank or unprintable keys, blank fields, unused fields, and fields that contain a key. All
errors are reported together; no error repeats a value.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from urllib.parse import urlsplit

from domain.credentials.key_shapes import holds_key
from domain.credentials.openai_route_names import ALL_ROUTES
from domain.credentials.pasted_key import pasting_error, pasting_warning
from domain.credentials.secret import Secret
from domain.endpoints.forms import EndpointForm, canonical_endpoint, deployment_in, kept_endpoint
from domain.endpoints.rules import EndpointRules, endpoint_error
from domain.errors import ErrorCode, InvalidField, InvalidRequestError, NotFoundError

KEY_MIN, KEY_MAX = 8, 4096
NAME_PATTERN = "[a-z][a-z0-9_-]{0,31}"
"""The form of a provider's name, configured or not: the log outlives the configuration."""
_KEY = re.compile(r"[\x21-\x7e]+")
_API_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,63}")
_DEPLOYMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class Dialect(StrEnum):
    """The API that a provider implements."""

    OPENAI = "openai"
    ANTHROPIC = "anthropic"
    AZURE = "azure"
    """OpenAI's API, with a deployment and a version in the address."""


@dataclass(frozen=True, slots=True)
class Provider:
    """One provider.

    base_url: of its public service; None if it has none, so that the endpoint must be configured.
    dialect: the API it implements. key_header: the header for its key; `authorization` carries it as a bearer token.
    litellm_prefix: its name in LiteLLM; by default LiteLLM's name for any server that implements OpenAI's API.
    by_model: which members of a chat it takes depends on the model, as LiteLLM knows. accepts: the members that it
    takes, where it refuses every other; None where others are ignored or have a meaning of the server's own. renamed:
    its names for members of OpenAI's API.
    required, optional: which of endpoint, api_version and deployment_name a credential must and may have.
    key_min: the length of its shortest key, in characters. self_hosted: its servers are the operator's or the tenant's
    own, so private addresses and http are normal.
    version_at_end: its addresses always end in /v1.
    base_url_setting: the setting that replaces `base_url`, if it is not named after the provider.
    rejects_with: the statuses that say that the key is not valid.
    models_are_public: its list of models says nothing of a key, because anyone may read it or there is none.
    also_called: its other names in catalogues. keeps: paths of its API whose answers it keeps unless `store` is false.
    routes: those of OpenAI's API that it has besides chats, embeddings and models; by default all.
    elsewhere: operations that are not below the path of `base_url`, each with its path from the root of the server.
    sockets: operations of its own API that are WebSockets, with what is below them.
    """

    name: str
    base_url: str | None
    dialect: Dialect = Dialect.OPENAI
    key_header: str = "authorization"
    litellm_prefix: str = "hosted_vllm"
    by_model: bool = False
    accepts: frozenset[str] | None = None
    rejects_with: frozenset[int] = frozenset({401})
    renamed: tuple[tuple[str, str], ...] = ()
    required: frozenset[str] = frozenset()
    optional: frozenset[str] = frozenset({"endpoint"})
    key_min: int = KEY_MIN
    self_hosted: bool = False
    version_at_end: bool = False
    base_url_setting: str | None = None
    also_called: frozenset[str] = frozenset()
    keeps: frozenset[str] = frozenset({"responses"})
    routes: frozenset[str] = ALL_ROUTES
    elsewhere: tuple[tuple[str, str], ...] = ()
    models_are_public: bool = False
    sockets: frozenset[str] = frozenset()

    @property
    def needs_litellm(self) -> bool:
        """Whether LiteLLM writes its chats: they depend on the model, or the API is not OpenAI's."""
        return self.by_model or self.dialect is Dialect.ANTHROPIC

    @property
    def endpoint_form(self) -> EndpointForm:
        """The form in which its endpoints are stored."""
        if self.dialect is Dialect.AZURE:
            return EndpointForm.AZURE
        if self.dialect is Dialect.ANTHROPIC or self.self_hosted:
            return EndpointForm.ROOT
        if self.version_at_end:
            return EndpointForm.ENDED
        bare = self.base_url is not None and not urlsplit(self.base_url).path.strip("/")
        return EndpointForm.BARE if bare else EndpointForm.VERSIONED

    def setting(self, field: str) -> str:
        """Return the name of the setting for a field of the platform's credential, or for `base_url`."""
        if field == "base_url" and self.base_url_setting is not None:
            return self.base_url_setting
        suffix = {"api_key": "API_KEY", "base_url": "API_BASE"}.get(field, field.upper())
        return f"{self.name.upper().replace('-', '_')}_{suffix}"


SHOWN_CLEAR = "must not hold an API key: settings are kept and shown in clear"
"""The error text for a setting that contains a key."""


class Providers(Mapping[str, Provider]):
    """The providers known to a service, by name, in the order of their rows. Immutable."""

    def __init__(self, rows: Iterable[Provider]) -> None:
        self._rows = {row.name: row for row in rows}

    def __getitem__(self, name: str) -> Provider:
        return self._rows[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __hash__(self) -> int:
        return hash(tuple(self._rows.values()))

    def named(self, name: str) -> Provider:
        """Return the provider called `name`. Raises NotFoundError."""
        try:
            return self._rows[name]
        except KeyError:
            raise unknown_provider(tuple(self._rows)) from None


@dataclass(frozen=True, slots=True)
class CredentialConfig:
    """The settings of a credential, which are not secret."""

    endpoint: str | None = None
    api_version: str | None = None
    deployment_name: str | None = None


CONFIG_FIELDS = tuple(field.name for field in fields(CredentialConfig))


@dataclass(frozen=True, slots=True)
class CheckedCredential:
    """A valid credential in its stored form. warnings: for the caller, without any value."""

    secret: Secret
    config: CredentialConfig
    warnings: tuple[str, ...]


def check(provider: Provider, api_key: str, config: CredentialConfig, rules: EndpointRules) -> CheckedCredential:
    """Return a valid credential: the key without surrounding white space, the endpoint in its stored form.

    rules: for tenants' endpoints. Raises InvalidRequestError with every error found.
    """
    errors = []
    secret = api_key.strip()
    if error := key_error(provider, secret):
        errors.append(InvalidField("api_key", error))
    for field in CONFIG_FIELDS:
        value = getattr(config, field)
        if error := _config_error(provider, field, config, rules):
            errors.append(InvalidField(field, error))
        elif value is not None and holds_key(value, [Secret(secret)]):
            errors.append(InvalidField(field, SHOWN_CLEAR))
    if errors:
        raise InvalidRequestError(errors, ErrorCode.INVALID_CREDENTIAL)
    warning = pasting_warning(secret)
    kept = replace(config, endpoint=config.endpoint and kept_endpoint(provider.endpoint_form, config.endpoint))
    return CheckedCredential(Secret(secret), kept, (f"api_key: {warning}",) if warning else ())


def key_error(provider: Provider, secret: str) -> str | None:
    """Return an error text for a provider's API key, or None. secret: without surrounding white space."""
    if not secret:
        return "is empty; send the provider's API key"
    if error := pasting_error(secret):
        return error
    if not provider.key_min <= len(secret) <= KEY_MAX:
        return f"must have {provider.key_min} to {KEY_MAX} characters"
    if not _KEY.fullmatch(secret):
        return "must hold printable ASCII characters only, without spaces"
    return None


def endpoint_rule_broken(provider: Provider, endpoint: str, rules: EndpointRules) -> str | None:
    """Return an error text for an endpoint of a provider, or None."""
    if error := endpoint_error(endpoint, rules, self_hosted=provider.self_hosted):
        return error
    try:
        canonical_endpoint(provider.endpoint_form, endpoint)
    except ValueError as wanted:  # its text does not repeat the endpoint
        return str(wanted)
    return None


def _config_error(provider: Provider, field: str, config: CredentialConfig, rules: EndpointRules) -> str | None:
    value: str | None = getattr(config, field)
    if value is None:
        return f"is required for {provider.name}" if field in provider.required else None
    if field not in provider.required | provider.optional:
        return f"is not used by {provider.name}; leave it out"
    if not value.strip():
        return "is empty; leave it out or give a value"
    if field == "endpoint":
        return endpoint_rule_broken(provider, value, rules) or _deployment_error(value, config.deployment_name)
    if field == "api_version":
        valid, form = _API_VERSION.fullmatch(value), "letters, digits, dots and dashes, at most 64, such as 2024-10-21"
    else:
        valid, form = _DEPLOYMENT.fullmatch(value), "letters, digits, dots, dashes and underscores, at most 64"
    return None if valid else f"must be made of {form}"


def _deployment_error(endpoint: str, deployment_name: str | None) -> str | None:
    named = deployment_in(endpoint)
    if not named or not deployment_name or named.lower() == deployment_name.lower():
        return None
    return "names another deployment than deployment_name; leave it out of the endpoint"


def unknown_provider(known: Sequence[str]) -> NotFoundError:
    """Return the error for a name that no provider has."""
    return NotFoundError(ErrorCode.UNKNOWN_PROVIDER, f"There is no such provider. Known providers: {', '.join(known)}.")
