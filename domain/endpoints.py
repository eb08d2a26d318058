"""Which addresses a tenant's endpoint may lead to. Used when a credential is set and again when a call connects.

Promises: an endpoint that passed leads, by its text, to a public https host or to one the operator listed; an address
that passed `address_fault` is public or belongs to a listed host. Link-local and cloud metadata addresses never pass,
listed or not, in no notation (IPv4 inside IPv6, NAT64, decimal and octal forms are undone or refused).
Refuses: user information, queries, fragments, white space, dot segments, other schemes.
Rules: OWASP API Security 2023, API7 (server side request forgery).
"""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

ENDPOINT_MAX = 2048
_TEXT = re.compile(r"[\x21-\x7e]+")
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_PATH = re.compile(r"(/[A-Za-z0-9._~-]*)*")
_PRIVATE_SUFFIXES = (".local", ".localhost", ".internal", ".intranet", ".lan", ".home.arpa")
_METADATA_NAMES = frozenset({"metadata", "metadata.google.internal", "instance-data", "instance-data.ec2.internal"})
_METADATA_ADDRESSES = frozenset(
    ipaddress.ip_address(text) for text in ("100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254")
)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
_NOT_PUBLIC = tuple(
    ipaddress.ip_network(text)
    for text in (
        *("192.88.99.0/24", "192.0.0.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.175.48.0/24"),
        *("2001::/23", "2001:db8::/32", "2620:4f:8000::/48", "3fff::/20"),
    )
)
"""Special blocks of the IANA registries that Python's own table, which differs between versions, may call global."""


@dataclass(frozen=True, slots=True)
class EndpointRules:
    """The operator's exceptions: `host` or `host:port` that tenants may use although private, loopback or http."""

    allowed: frozenset[str] = frozenset()

    @classmethod
    def of(cls, hosts: Iterable[str]) -> "EndpointRules":
        """Make rules of host names as an operator writes them; case does not matter."""
        return cls(frozenset(host.strip().lower() for host in hosts if host.strip()))

    def allows(self, host: str, port: int) -> bool:
        """Say whether the operator listed this host, with or without this port."""
        shown = f"[{host}]" if ":" in host else host
        return bool(self.allowed & {host, shown, f"{shown}:{port}"})


def endpoint_fault(endpoint: str, rules: EndpointRules) -> str | None:
    """Return what is wrong with a tenant's endpoint, or None. The text never repeats the endpoint."""
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
    address = _literal_address(host)
    if host in _METADATA_NAMES or (address is not None and _never(address)):
        return "names a link-local or metadata address, which is never allowed"
    if rules.allows(host, port):
        return None
    if url.scheme != "https":
        return "must use https; an operator can list a host in ENDPOINT_ALLOWED_HOSTS to allow http"
    if not _is_public(address) if address is not None else _is_private_name(host):
        return "names a private or loopback host; an operator can list it in ENDPOINT_ALLOWED_HOSTS"
    return None


def address_fault(address: str, host: str, port: int, rules: EndpointRules) -> str | None:
    """Return why a call for `host` must not connect to the resolved `address`, or None."""
    resolved = _unwrap(ipaddress.ip_address(address.partition("%")[0]))
    if _never(resolved):
        return "link-local-or-metadata-address"
    if not _is_public(resolved) and not rules.allows(host.lower(), port):
        return "private-address"
    return None


def origin_port(url: SplitResult) -> int:
    """Return the port a URL leads to, the scheme's own where none is written. Raises ValueError."""
    return url.port if url.port is not None else {"https": 443, "http": 80}.get(url.scheme, 0)


def _form_fault(url: SplitResult, endpoint: str, host: str) -> str | None:
    if url.scheme not in {"https", "http"} or not host:
        return "must start with https:// and name a host"
    if "@" in url.netloc or "\\" in endpoint:
        return "must not hold a user name or password"
    if "?" in endpoint or "#" in endpoint:
        return "must not hold a query or a fragment"
    if url.port == 0 or url.netloc.endswith(":"):
        return "must name a port between 1 and 65535, or none"
    if not _PATH.fullmatch(url.path) or {".", ".."} & set(url.path.split("/")):
        return "must have a plain path of letters, digits, dots, dashes and underscores"
    if _literal_address(host) is None and not _is_host_name(host):
        return "must name a host by its DNS name or its canonical IP address"
    return None


def _is_host_name(host: str) -> bool:
    labels = host.split(".")
    # A name that ends in a number is read as an IPv4 address in some notation by common resolvers (WHATWG URL, 3.5).
    numeric_end = labels[-1].isdigit() or labels[-1].startswith("0x")
    return len(host) <= 253 and not numeric_end and all(_LABEL.fullmatch(label) for label in labels)


def _is_private_name(host: str) -> bool:
    return "." not in host or host.endswith(_PRIVATE_SUFFIXES)


def _literal_address(host: str) -> Address | None:
    try:
        return _unwrap(ipaddress.ip_address(host))
    except ValueError:
        return None


def _unwrap(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address stands for, where it does."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    inner = address.ipv4_mapped or address.sixtofour
    if inner is None and address in _NAT64:
        inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return inner or address


def _is_public(address: Address) -> bool:
    """Say whether an address is one of the public internet, by an own table: IPv6 is public in one block only."""
    if isinstance(address, ipaddress.IPv6Address) and address not in _GLOBAL_UNICAST:
        return False
    return address.is_global and not any(address.version == net.version and address in net for net in _NOT_PUBLIC)


def _never(address: Address) -> bool:
    return address.is_link_local or address.is_unspecified or address.is_multicast or address in _METADATA_ADDRESSES
