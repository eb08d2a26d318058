"""The addresses that a tenant's endpoint may lead to, checked when a credential is set and when a call connects.

Promises: an endpoint that passed `endpoint_error` leads, by its text, to a permitted host, and an address that passed
`address_error` is a permitted one. For a cloud provider that is a public https host; for a self-hosted one also http
and private hosts, unless the operator requires them to be listed. Loopback is for listed hosts only. Link-local,
metadata, multicast and unspecified addresses never pass, listed or not, in any notation (`addresses` decodes those of
IPv6).
Refuses: user information, queries, fragments, white space, dot segments, other schemes, zones.
Rules: OWASP API Security 2023, API7 (server side request forgery).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from domain.endpoints.addresses import Address, Reachability, address_in, reachability
from domain.endpoints.allowed_hosts import AllowedHost, allowed_host
from domain.endpoints.host_names import host_name_error, reachability_of_name

ENDPOINT_MAX = 2048
_TEXT = re.compile(r"[\x21-\x7e]+")
_PATH = re.compile(r"(/[A-Za-z0-9._~-]*)*")


@dataclass(frozen=True, slots=True)
class EndpointRules:
    """The hosts that the operator trusts besides public https hosts.

    allowed: the listed hosts. listed_only: self-hosted providers' hosts must be listed as well. anywhere: every host
    counts as listed; for addresses that the operator configured.
    """

    allowed: tuple[AllowedHost, ...] = ()
    listed_only: bool = False
    anywhere: bool = False

    @classmethod
    def of(cls, entries: Iterable[str], *, listed_only: bool = False) -> "EndpointRules":
        """Return the rules for entries as an operator writes them. Raises ValueError for an invalid entry."""
        return cls(tuple(allowed_host(entry) for entry in entries), listed_only)

    def allows(self, host: str, port: int, address: Address | None) -> bool:
        """Return whether the operator listed a host or its address. host: in lower case, without brackets."""
        return self.anywhere or any(entry.matches(host, port, address) for entry in self.allowed)

    def trusts(self, *, self_hosted: bool) -> bool:
        """Return whether a provider's endpoints may use http and private addresses without being listed."""
        return self_hosted and not self.listed_only


OPERATORS_OWN = EndpointRules(anywhere=True)


def endpoint_error(endpoint: str, rules: EndpointRules, *, self_hosted: bool = False) -> str | None:
    """Return an error text for a tenant's endpoint, or None. The text never repeats the endpoint.

    self_hosted: the provider's servers are the operator's or the tenant's own.
    """
    if len(endpoint) > ENDPOINT_MAX or not _TEXT.fullmatch(endpoint):
        return f"must be a URL of at most {ENDPOINT_MAX} printable ASCII characters without spaces"
    try:
        url = urlsplit(endpoint)
        port = origin_port(url)
    except ValueError:
        return "is not a URL; write https://host/path"
    host = (url.hostname or "").lower()
    if error := _form_error(url, endpoint, host):
        return error
    address = address_in(host)
    kind = reachability_of_name(host) if address is None else reachability(address)
    if kind is Reachability.NEVER:
        return "names a link-local, metadata, multicast or unspecified address, which is never allowed"
    if rules.allows(host, port, address):
        return None
    if kind is Reachability.LOOPBACK:
        return "names a loopback host; an operator can list it in ENDPOINT_ALLOWED_HOSTS"
    if rules.trusts(self_hosted=self_hosted):
        return None
    if url.scheme != "https":
        return "must use https; an operator can list a host in ENDPOINT_ALLOWED_HOSTS to allow http"
    if kind is Reachability.PRIVATE:
        return "names a private host; an operator can list it in ENDPOINT_ALLOWED_HOSTS"
    return None


def address_error(address: str, host: str, port: int, rules: EndpointRules, *, self_hosted: bool = False) -> str | None:
    """Return why a call for `host` must not connect to the resolved `address`, as a reason code, or None."""
    resolved = address_in(address)
    kind = Reachability.NEVER if resolved is None else reachability(resolved)
    if kind is Reachability.NEVER:
        return "link-local-or-metadata-address"
    if kind is Reachability.PUBLIC or rules.allows(host.lower(), port, resolved):
        return None
    if kind is Reachability.LOOPBACK:
        return "loopback-address"
    return None if rules.trusts(self_hosted=self_hosted) else "private-address"


def origin_port(url: SplitResult) -> int:
    """Return the port of a URL, or the scheme's default if it has none. Raises ValueError."""
    return url.port if url.port is not None else {"https": 443, "http": 80}.get(url.scheme, 0)


def _form_error(url: SplitResult, endpoint: str, host: str) -> str | None:
    if url.scheme not in {"https", "http"} or not host:
        return "must start with https:// or http:// and name a host"
    if "@" in url.netloc or "\\" in endpoint:
        return "must not hold a user name or password"
    if "api-version=" in url.query:
        return "must not hold a query; write what follows api-version= as api_version"
    if "?" in endpoint or "#" in endpoint:
        return "must not hold a query or a fragment"
    if url.port == 0 or url.netloc.endswith(":"):
        return "must name a port between 1 and 65535, or none"
    if not _PATH.fullmatch(url.path) or {".", ".."} & set(url.path.split("/")):
        return "must have a plain path of letters, digits, dots, dashes and underscores"
    if "[" in url.netloc and ":" not in host:
        return "must have an IPv6 address, and no name, in brackets"
    return host_name_error(host)
