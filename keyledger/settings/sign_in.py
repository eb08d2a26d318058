"""The settings of signing in with OpenID Connect.

Promises: all of them are set, or none is; the provider, and the way back from it, are asked with TLS, or are on this
machine. Refuses: a redirect URL that is not the callback of this service.
"""

from dataclasses import replace

from domain.endpoints.issuers import issuer_address_error
from keyledger.settings.identity_settings import IdentitySettings, SignInSettings
from keyledger.settings.sources import Sources, hidden

CALLBACK = "/auth/callback"


def with_sign_in(sources: Sources, identity: IdentitySettings) -> IdentitySettings:
    """Return the callers of the file with the provider at which people sign in, if there is one."""
    return replace(identity, sign_in=_read(sources, identity))


def _read(sources: Sources, identity: IdentitySettings) -> SignInSettings | None:
    texts = {name: sources.text(name) for name in ("OIDC_ISSUER", "OIDC_CLIENT_ID", "OIDC_REDIRECT_URL")}
    secret = sources.secret("OIDC_CLIENT_SECRET", shown=hidden)
    issuer, client_id, redirect_url = texts.values()
    if not any(texts.values()) and secret is None:
        return None
    for name in ("OIDC_ISSUER", "OIDC_CLIENT_ID", "OIDC_REDIRECT_URL", "OIDC_CLIENT_SECRET"):
        if not sources.is_set(name):
            sources.error(name, "is required for signing in: set all of the OIDC_ settings, or none")
    for name in ("OIDC_ISSUER", "OIDC_REDIRECT_URL"):
        if (text := texts[name]) and (error := issuer_address_error(text)):
            sources.error(name, error)
    if redirect_url and not redirect_url.endswith(CALLBACK):
        sources.error("OIDC_REDIRECT_URL", f"must end in {CALLBACK}: it is the address of this service for browsers")
    if identity.people is None:
        sources.error("IDENTITY_FILE", "has no rules for people; add them under people, or leave out OIDC_ISSUER")
    if not (issuer and client_id and redirect_url and secret):
        return None
    return SignInSettings(issuer, client_id, secret, redirect_url)
