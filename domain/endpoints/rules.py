"""Which addresses a tenant's endpoint may lead to. Used when a credential is set and again when a call connects.

Promises: an endpoint that passed leads, by its text, where its provider's calls may go, and an address that passed
`address_fault` is such a place. For a cloud provider that is a public https host; for a self-hosted one also http and
private hosts, unless the operator wants them listed. Loopback is for listed hosts only. Link-local, metadata, multicast
and unspecified addresses never pass, listed or not, in no notation (`addresses` undoes those of IPv6).
Refuses: user information, queries, fragments, white space, dot segments, other schemes, zones.
Rules: OWASP API Security 2023, API7 (server side request forgery).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from domain.endpoints.addresses import Address, Reachability, address_in, reachability
from domain.endpoints.allowed_hosts import AllowedHost, allowed_host
from domain.endpoints.host_names import host_name_fault, reachability_of_name

ENDPOINT_MAX = 2048
_TEXT = re.compile(r"[\x21-\x7e]+")
_PATH = re.compile(r"(/[A-Za-z0-9._~-]*)*")


@dataclass(frozen=True, slots=True)
class EndpointRules:
    """What the operator trusts beyond public https hosts.

    allowed: what was listed. listed_only: self-hosted providers need listing, too. anywhere: every host counts as
    listed, for addresses that are the operator's own.
    """

    allowed: tuple[AllowedHost, ...] = ()
    listed_only: bool = False
    anywhere: bool = False

    @classmethod
    def of(cls, entries: Iterable[str], *, listed_only: bool = False) -> "EndpointRules":
        """Make rules of entries as an operator writes them. Raises ValueError for one that is not fit."""
        return cls(tuple(allowed_host(entry) for entry in entries), listed_only)

    def allows(self, host: str, port: int, address: Address | None) -> bool:
        """Say whether the operator listed a host, in lower case and without brackets, or the address it has."""
        return self.anywhere or any(entry.matches(host, port, address) for entry in self.allowed)

    def trusts(self, *, self_hosted: bool) -> bool:
        """Say whether a provider's endpoints may use http and private addresses without being listed."""
        return self_hosted and not self.listed_only


OPERATORS_OWN = EndpointRules(anywhere=True)


def endpoint_fault(endpoint: str, rules: EndpointRules, *, self_hosted: bool = False) -> str | None:
    """Return what is wrong with a tenant's endpoint, or None. The text never repeats the endpoint.

    self_hosted: it is for a provider whose servers are the operator's or the tenant's own.
    """
    if len(endpoint) > ENDPOINT_MAX or not _TEXT.fullmatch(endpoint):
        return f"must be a URL of at most {ENDPOINT_MAX} printable ASCII characters without spaces"
    try:
        url = urlsplit(endpoint)
        port = origin_port(url)
    except ValueError:
        return "is not a URL; write https://host/path"
    host = (url.hostname or "").lower()
    if fault := _form_fault(url, endpoint, host):
        return fault
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


def address_fault(address: str, host: str, port: int, rules: EndpointRules, *, self_hosted: bool = False) -> str | None:
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
    """Return the port a URL leads to, the scheme's own where none is written. Raises ValueError."""
    return url.port if url.port is not None else {"https": 443, "http": 80}.get(url.scheme, 0)


def _form_fault(url: SplitResult, endpoint: str, host: str) -> str | None:
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
    return host_name_fault(host)
