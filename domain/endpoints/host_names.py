"""Classifies host names by their text, without a DNS query.

A name is only a hint: the address it resolves to is checked when a call connects. Names that cannot be public, and
names that spell an address, are recognised here, so that the mistake shows when the endpoint is set and not at the
first call.
Promises: a name that passed `host_name_fault` is a DNS name in its usual form or an IP address in its canonical one.
"""

import ipaddress
import re

from domain.endpoints.addresses import Address, Reachability, address_in, reachability

_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_METADATA = frozenset(
    (
        *("metadata", "metadata.google.internal", "metadata.goog", "instance-data", "instance-data.ec2.internal"),
        *("metadata.azure.internal", "metadata.tencentyun.com", "metadata.packet.net", "metadata.platformequinix.com"),
        "rancher-metadata",
    )
)
_LOOPBACK = frozenset(
    (
        *("localhost", "localhost.localdomain", "localhost4", "localhost6", "ip6-localhost", "ip6-loopback"),
        *("localtest.me", "lvh.me", "vcap.me", "lacolhost.com", "yoogle.com"),
    )
)
_PRIVATE_ENDS = frozenset(
    (
        # RFC 6761, RFC 6762, RFC 7686, RFC 8375, RFC 9476; ICANN: internal, corp, home, mail
        *("alt", "invalid", "local", "onion", "test", "home.arpa", "internal", "corp", "home", "mail"),
        *("arpa", "consul", "default", "docker", "domain", "intra", "intranet", "lan", "localdomain", "lxd", "pod"),
        *("priv", "private", "svc", "workgroup"),
    )
)
_SPELLS_ADDRESSES = frozenset({"nip.io", "sslip.io", "xip.io", "traefik.me", "backname.io"})
"""DNS services that resolve a name to the address it spells."""

_QUAD = re.compile(r"(?<![0-9])(\d{1,3})[.-](\d{1,3})[.-](\d{1,3})[.-](\d{1,3})(?![0-9])")
_WITH_DASHES = re.compile(r"(?<![0-9a-z])[0-9a-f]*(?:-[0-9a-f]*){2,7}(?![0-9a-z])")
"""An IPv6 address with dashes in place of its colons."""
_HEX = re.compile(r"(?<![0-9a-z])([0-9a-f]{8})(?![0-9a-z])")


def host_name_error(host: str) -> str | None:
    """Return an error text for a host, or None. host: in lower case, without brackets and port."""
    address = address_in(host)
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id is not None:
        return "must not name a zone; it means another place on each machine"
    if address is None and not _is_dns_name(host):
        return "must name a host by its DNS name or its canonical IP address"
    return None


def reachability_of_name(name: str) -> Reachability:
    """Return the class of addresses that a name, in lower case, leads to as far as its text shows."""
    if name in _METADATA:
        return Reachability.NEVER
    if _ends_in(name, _LOOPBACK):
        return Reachability.LOOPBACK
    if _ends_in(name, _SPELLS_ADDRESSES):
        return max((Reachability.PRIVATE, *map(reachability, _spelt(name))))
    return Reachability.PRIVATE if "." not in name or _ends_in(name, _PRIVATE_ENDS) else Reachability.PUBLIC


def _is_dns_name(host: str) -> bool:
    labels = host.split(".")
    # A name that ends in a number is read as an IPv4 address in some notation by common resolvers (WHATWG URL, 3.5).
    numeric_end = labels[-1].isdigit() or labels[-1].startswith("0x")
    return len(host) <= 253 and not numeric_end and all(_LABEL.fullmatch(label) for label in labels)


def _ends_in(name: str, ends: frozenset[str]) -> bool:
    labels = name.split(".")
    return any(".".join(labels[start:]) in ends for start in range(len(labels)))


def _spelt(name: str) -> list[Address]:
    quads = [".".join(parts) for parts in _QUAD.findall(name)]
    dashed = [text.replace("-", ":") for label in name.split(".") for text in _WITH_DASHES.findall(label)]
    written = [found for text in quads + dashed if (found := address_in(text)) is not None]
    return written + [ipaddress.IPv4Address(int(digits, 16)) for digits in _HEX.findall(name)]
