"""Parses and matches the entries of ENDPOINT_ALLOWED_HOSTS: hosts that tenants' endpoints may lead to.

    llm.lan  llm.lan:8000      a name, at every port or at one
    *.ml.example               every name below, however deep, not ml.example itself
    10.0.0.5  [fd00::5]:8000   an address
    10.0.0.0/8  fd00:7::/48    a range of addresses, at every port

A name lets a call connect to any address that the name resolves to; an address or a range lets it connect there under
any name. Refuses: entries of any other form, and addresses that are never called.
"""

import ipaddress
import re
from dataclasses import dataclass

from domain.endpoints.addresses import Address, Network, Reachability, address_in, never_called, plain, stands_for_ipv4
from domain.endpoints.host_names import host_name_error, reachability_of_name

_ENTRY = re.compile(r"(?:\[(?P<v6>[0-9a-f:.]+)\]|(?P<host>[a-z0-9*._-]+))(?::(?P<port>[0-9]{1,5}))?")
_FORM = "must be host, host:port, *.domain or a range such as 10.0.0.0/8, without http:// or a path"
_PORT_MAX = 65535


@dataclass(frozen=True, slots=True)
class AllowedHost:
    """One entry. below: the ending of all names it matches. port: the only port it matches, or None for all."""

    name: str | None = None
    below: str | None = None
    network: Network | None = None
    port: int | None = None

    def matches(self, host: str, port: int, address: Address | None) -> bool:
        """Return whether the entry matches a host or its address. host: in lower case, without brackets."""
        if self.port not in {None, port}:
            return False
        if self.network is not None:
            found = None if address is None else plain(address)
            return found is not None and found.version == self.network.version and found in self.network
        return host == self.name if self.below is None else host.endswith(self.below)


def allowed_host(entry: str) -> AllowedHost:
    """Parse one entry, in any letter case. Raises ValueError; its text says what to change without repeating it."""
    text = entry.strip().lower()
    if "/" in text:
        return AllowedHost(network=_range(text))
    if isinstance(address_in(text), ipaddress.IPv6Address):
        text = f"[{text}]"
    parts = _ENTRY.fullmatch(text)
    if parts is None or (parts["v6"] and not isinstance(address_in(parts["v6"]), ipaddress.IPv6Address)):
        raise ValueError(_FORM)
    port = None if parts["port"] is None else int(parts["port"])
    if port is not None and not 0 < port <= _PORT_MAX:
        raise ValueError(f"must name a port between 1 and {_PORT_MAX}, or none")
    host = parts["v6"] or parts["host"]
    if (address := address_in(host)) is not None:
        found = plain(address)
        return AllowedHost(network=_callable(ipaddress.ip_network(found)), port=port)
    return _named(host, port)


def _named(host: str, port: int | None) -> AllowedHost:
    name = host.removeprefix("*.")
    if "*" in name:
        raise ValueError("must have a * at its front only, as in *.example.com")
    if address_in(name) is not None or host_name_error(name):
        raise ValueError(_FORM)
    if reachability_of_name(name) is Reachability.NEVER:
        raise ValueError("can never be allowed, because it is not the address of a host; leave it out")
    return AllowedHost(name=name, port=port) if name == host else AllowedHost(below=f".{name}", port=port)


def _range(text: str) -> Network:
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError(_FORM) from None
    if str(network.network_address) != str(address_in(text.partition("/")[0])):
        raise ValueError("must be a range that begins with its first address, such as 10.0.0.0/8")
    return _callable(network)


def _callable(network: Network) -> Network:
    if never_called(network):
        raise ValueError("can never be allowed, because no address in it is that of a host; leave it out")
    if stands_for_ipv4(network):
        raise ValueError("must be written as the IPv4 range that it stands for")
    return network
