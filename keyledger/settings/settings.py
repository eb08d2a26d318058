"""The one typed settings object: built once at the start, checked as a whole, handed down.

Promises: settings that `load` returns are complete and consistent, so no later code checks them again; all errors are
reported at once; neither an error nor the `repr` of a setting shows a secret.
Refuses: tenant credentials without a valid encryption key, and every other error that `load` finds.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Literal, cast

from api.front.auth import NamedKey
from api.front.bounds.chosen import Bounds
from api.front.failed_keys import LockoutPolicy
from api.front.proxies import Network, ProxyHeader, TrustedProxies, parse_network
from domain.approvals.listed import ProposalRules
from domain.calls.native_rules import NativeRules, OpenedRoute
from domain.credentials.providers import Providers
from domain.credentials.resolution import ResolutionPolicy
from domain.credentials.secret import Secret
from domain.endpoints.allowed_hosts import allowed_host
from domain.endpoints.rules import EndpointRules
from keyledger.settings.bounds import read_bounds
from keyledger.settings.database_url import read_database_url
from keyledger.settings.errors import SettingsError
from keyledger.settings.identity_settings import IdentitySettings
from keyledger.settings.named_files import read_ai_models_file, read_identity, read_own_prices, read_providers
from keyledger.settings.own_prices import OwnPrices
from keyledger.settings.providers import read_base_urls, read_global_credentials
from keyledger.settings.service_keys import (
    read_access_key_max_age,
    read_approvals,
    read_audit_signing_key,
    read_encryption_keys,
    read_lockout,
    read_named_keys,
    read_revoked_calls,
    read_super_key,
)
from keyledger.settings.sign_in import with_sign_in
from keyledger.settings.sources import Resolved, Sources, items_of

LogLevel = Literal["debug", "info", "warning", "error", "critical"]
LogFormat = Literal["auto", "json", "text"]

IDLE_CONNECTIONS = 256
IDLE_CONNECTIONS_MAX = 65_536

_LOG_LEVELS = ("debug", "info", "warning", "error", "critical")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything an operator chose.

    identity: who is a caller besides those with keys.
    audit_signing_key: signs checkpoints of the log, None if nothing is signed. reason_required: changes need a reason.
    personal_data_days: names, addresses and reasons can be read for this many days, 0 for ever.
    encryption_key: None while tenant credentials are off. next_encryption_key: opens, and seals once all nodes have it.
    database_url: a libpq URL or parameter list, None for the embedded PostgreSQL in `data_dir`. database_admin_url: a
    direct address of the same database, for what creates or copies tables; None where `database_url` will do.
    anchor_dir: a second place for the anchor of the log, None for DATA_DIR alone.
    database_role_strict: a role in `database_url` with more rights than it needs is refused, not only named.
    approvals: the commands that need a second person.
    own_prices: of models, None where the operator names none. idle_connections: those to providers that one process
    keeps.
    resolved: every setting in a form that may be shown. warnings: notes that do not prevent a start.
    """

    policy: ResolutionPolicy
    endpoint_rules: EndpointRules
    native_rules: NativeRules
    identity: IdentitySettings
    trusted_proxies: TrustedProxies
    bounds: Bounds
    encryption_key: Secret | None
    next_encryption_key: Secret | None
    previous_encryption_keys: tuple[Secret, ...]
    unused_encryption_keys: tuple[Secret, ...]
    super_key: Secret | None
    named_keys: tuple[NamedKey, ...]
    lockout: LockoutPolicy
    access_key_max_age: timedelta | None
    approvals: ProposalRules
    revoked_calls_end: bool
    database_url: Secret | None
    database_admin_url: Secret | None
    database_role_strict: bool
    data_dir: Path
    anchor_dir: Path | None
    ai_models_file: Path
    own_prices: OwnPrices | None
    idle_connections: int
    allow_unreadable: bool
    reason_required: bool
    personal_data_days: int
    audit_signing_key: Secret | None
    log_level: LogLevel
    log_format: LogFormat
    resolved: tuple[Resolved, ...]
    warnings: tuple[str, ...]

    @property
    def providers(self) -> Providers:
        """The built-in providers and those of PROVIDERS_FILE."""
        return self.policy.providers

    @property
    def database(self) -> "DatabaseSettings":
        """The addresses of the database."""
        return DatabaseSettings(
            self.database_url,
            self.database_admin_url,
            self.data_dir,
            self.anchor_dir,
            role_strict=self.database_role_strict,
        )


def load(environ: Mapping[str, str], dotenv: Path | None) -> Settings:
    """Read the settings; `dotenv` names a file that need not exist. Raises SettingsError with every error found."""
    sources = Sources(environ, dotenv)
    settings = _read(sources)
    if sources.errors:
        raise SettingsError(tuple(sources.errors))
    return settings


def load_secret_files(environ: Mapping[str, str], dotenv: Path | None) -> Mapping[str, Path]:
    """Return the files that secrets are read from, by variable, even if the settings have errors."""
    sources = Sources(environ, dotenv)
    _read(sources)
    return sources.secret_files


def _read(sources: Sources) -> Settings:
    enabled = sources.switch("TENANT_CREDENTIALS_ENABLED", default=False)
    keys = read_encryption_keys(sources, enabled=enabled)
    super_key = read_super_key(sources)
    providers = read_providers(sources)
    return Settings(
        policy=_policy(sources, providers, enabled=enabled),
        endpoint_rules=_endpoint_rules(sources),
        native_rules=_native_rules(sources, providers),
        identity=with_sign_in(sources, read_identity(sources, providers)),
        trusted_proxies=_trusted_proxies(sources),
        bounds=read_bounds(sources),
        encryption_key=keys.primary,
        next_encryption_key=keys.coming,
        previous_encryption_keys=keys.previous,
        unused_encryption_keys=keys.unused,
        super_key=super_key,
        named_keys=read_named_keys(sources, super_key),
        lockout=read_lockout(sources),
        access_key_max_age=read_access_key_max_age(sources),
        approvals=read_approvals(sources),
        revoked_calls_end=read_revoked_calls(sources),
        database_url=read_database_url(sources),
        database_admin_url=read_database_url(sources, "DATABASE_ADMIN_URL"),
        database_role_strict=_role_strict(sources),
        data_dir=_data_dir(sources),
        anchor_dir=_anchor_dir(sources),
        ai_models_file=read_ai_models_file(sources),
        own_prices=read_own_prices(sources, providers),
        idle_connections=sources.whole("PROVIDER_IDLE_CONNECTIONS", IDLE_CONNECTIONS, 0, IDLE_CONNECTIONS_MAX),
        allow_unreadable=sources.switch("ALLOW_UNREADABLE_CREDENTIALS", default=False),
        reason_required=sources.switch("AUDIT_REASON_REQUIRED", default=False),
        personal_data_days=sources.whole("AUDIT_PERSONAL_DATA_DAYS", 0, 0, 36500),
        audit_signing_key=read_audit_signing_key(sources),
        log_level=cast("LogLevel", sources.choice("LOG_LEVEL", _LOG_LEVELS, "info")),
        log_format=cast("LogFormat", sources.choice("LOG_FORMAT", ("auto", "json", "text"), "auto")),
        resolved=tuple(sources.resolved),
        warnings=_warnings(sources),
    )


def _policy(sources: Sources, providers: Providers, *, enabled: bool) -> ResolutionPolicy:
    base_urls = read_base_urls(sources, providers)
    return ResolutionPolicy(
        tenant_credentials=enabled,
        fallback_allowed=sources.choice("GLOBAL_FALLBACK", ("allow", "deny"), "allow") == "allow",
        global_credentials=read_global_credentials(sources, providers, base_urls),
        base_urls=base_urls,
        providers=providers,
        registration_required=_registration_required(sources),
    )


def load_code_keys(environ: Mapping[str, str], dotenv: Path | None) -> tuple[tuple[Secret, ...], Secret | None]:
    """Return only the encryption keys and AUDIT_SIGNING_KEY, as far as they are set and well formed."""
    sources = Sources(environ, dotenv)
    return read_encryption_keys(sources, enabled=False).unused, read_audit_signing_key(sources)


def load_data_dir(environ: Mapping[str, str], dotenv: Path | None) -> Path:
    """Return only DATA_DIR, for commands that work even if other settings have errors."""
    return _data_dir(Sources(environ, dotenv))


@dataclass(frozen=True, slots=True)
class DatabaseSettings:
    """The addresses of the database.

    url: where requests go, a libpq URL or parameter list; None for the embedded PostgreSQL in `data_dir`. admin_url:
    a direct address of the same database, for what creates or copies tables; None where `url` will do. anchor_dir: the
    second place for anchors, if there is one. role_strict: a role in `url` with more rights than it needs is refused.
    """

    url: Secret | None
    admin_url: Secret | None
    data_dir: Path
    anchor_dir: Path | None
    role_strict: bool = False


def load_database(environ: Mapping[str, str], dotenv: Path | None) -> DatabaseSettings:
    """Read only the addresses of the database, for commands that need no key. Raises SettingsError."""
    sources = Sources(environ, dotenv)
    database = _database(sources)
    if sources.errors:
        raise SettingsError(tuple(sources.errors))
    return database


def _database(sources: Sources) -> DatabaseSettings:
    return DatabaseSettings(
        read_database_url(sources),
        read_database_url(sources, "DATABASE_ADMIN_URL"),
        _data_dir(sources),
        _anchor_dir(sources),
        role_strict=_role_strict(sources),
    )


def _registration_required(sources: Sources) -> bool:
    return sources.choice("TENANTS_REGISTERED", ("optional", "required"), "optional") == "required"


def _role_strict(sources: Sources) -> bool:
    return sources.switch("DATABASE_ROLE_STRICT", default=False)


def _warnings(sources: Sources) -> tuple[str, ...]:
    sources.warn_of_misspelt()
    return tuple(sources.warnings)


def _data_dir(sources: Sources) -> Path:
    return Path(sources.text("DATA_DIR", ".data") or "")


def _anchor_dir(sources: Sources) -> Path | None:
    given = sources.text("ANCHOR_DIR")
    if not given:
        return None
    if Path(given).absolute() == _data_dir(sources).absolute():
        sources.error("ANCHOR_DIR", "is the same folder as DATA_DIR: name one on another disk or machine, or none")
    return Path(given)


def _endpoint_rules(sources: Sources) -> EndpointRules:
    listed_only = sources.choice("SELF_HOSTED_ENDPOINTS", ("allowed", "listed"), "allowed") == "listed"
    allowed = []
    for number, entry in enumerate(items_of(sources.text("ENDPOINT_ALLOWED_HOSTS") or ""), start=1):
        try:
            allowed.append(allowed_host(entry))
        except ValueError as error:  # its text is ours
            sources.error("ENDPOINT_ALLOWED_HOSTS", f"entry {number} {error}")
    return EndpointRules(tuple(allowed), listed_only)


def _native_rules(sources: Sources, providers: Providers) -> NativeRules:
    opened = []
    for number, entry in enumerate(items_of(sources.text("NATIVE_GLOBAL_ROUTES") or ""), start=1):
        try:
            opened.append(OpenedRoute.read(entry, providers))
        except ValueError as error:  # its text is ours
            sources.error("NATIVE_GLOBAL_ROUTES", f"entry {number} {error}")
    account_routes = sources.choice("NATIVE_ACCOUNT_ROUTES", ("closed", "open"), "closed") == "open"
    return NativeRules(tuple(opened), account_routes)


def _trusted_proxies(sources: Sources) -> TrustedProxies:
    header = sources.choice("TRUSTED_PROXY_HEADER", list(ProxyHeader), ProxyHeader.X_FORWARDED_FOR)
    networks: list[Network] = []
    for number, item in enumerate(items_of(sources.text("TRUSTED_PROXIES") or ""), start=1):
        try:
            networks.append(parse_network(item))
        except ValueError as error:  # its text is ours
            sources.error("TRUSTED_PROXIES", f"entry {number} {error}")
    if any(network.prefixlen == 0 for network in networks):
        sources.warn("TRUSTED_PROXIES", "trusts every address: any client can then claim any address as its own")
    return TrustedProxies(tuple(networks), ProxyHeader(header))
