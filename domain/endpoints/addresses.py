"""Classifies IP addresses: public, private, loopback, or never to be called.

Promises: an IPv4 address inside an IPv6 address is classified as an IPv4 address, in every notation that a host or a
network decodes: mapped, compatible and translated (RFC 4291, RFC 6052), 6to4 (RFC 3056), NAT64 with the well-known and
the local prefix (RFC 6052, RFC 8215), Teredo (RFC 4380), ISATAP (RFC 5214). If a text can be read in several ways,
the worst one counts. An address with a zone is never called, because it means a different host on each machine.
"""

import ipaddress
from collections.abc import Iterable
from enum import IntEnum

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Reachability(IntEnum):
    """The classes of addresses, best first."""

    PUBLIC = 0
    PRIVATE = 1
    LOOPBACK = 2
    NEVER = 3


def _networks(*texts: str) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(text) for text in texts)


_NEVER = _networks(
    *("0.0.0.0/8", "::/128", "255.255.255.255/32"),  # no host's address
    *("169.254.0.0/16", "fe80::/10"),  # link-local, where clouds keep their metadata
    *("224.0.0.0/4", "ff00::/8"),  # multicast
    # Metadata and platform services of clouds at other addresses: Alibaba, Azure, Oracle, AWS, Google, Scaleway.
    *("100.100.100.200/32", "168.63.129.16/32", "192.0.0.192/32", "fd00:c1::a9fe:a9fe/128", "fd00:ec2::/32"),
    *("fd20:ce::254/128", "fd00:42::42/128"),
)
_LOOPBACK = _networks("127.0.0.0/8", "::1/128")
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
_NOT_PUBLIC = _networks(
    *("192.88.99.0/24", "192.0.0.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.175.48.0/24"),
    *("2001::/23", "2001:db8::/32", "2620:4f:8000::/48", "3fff::/20"),
)
"""Special blocks of the IANA registries that Python's table, which differs between versions, may call global."""

_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")
_6TO4 = ipaddress.IPv6Network("2002::/16")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_STAND_INS = (_MAPPED, _6TO4, _NAT64)
"""An address in these stands for the IPv4 address inside, and for nothing else."""

_COMPATIBLE = _networks("::/96", "::ffff:0:0:0/96")
_LOCAL_NAT64 = ipaddress.IPv6Network("64:ff9b:1::/48")
_ISATAP = frozenset({0x00005EFE, 0x02005EFE})
_NO_HOST = ipaddress.IPv4Network("0.0.0.0/8")


def address_in(text: str) -> Address | None:
    """Return the address that a host is, or None for a name. text: without brackets, with its zone if it has one."""
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def reachability(address: Address) -> Reachability:
    """Return the worst class in which an address can be read."""
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id is not None:
        return Reachability.NEVER
    readings: list[Address] = [plain(address)]
    if isinstance(address, ipaddress.IPv6Address) and not _within(address, _LOOPBACK):
        readings += _hidden(address)
    return max(_of_itself(reading) for reading in readings)


def plain(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address stands for, or the address itself if it stands for none."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _6TO4:
        return _bits(address, 16)
    return _bits(address, 96) if address in _MAPPED or address in _NAT64 else address


def never_called(network: Network) -> bool:
    """Say whether no address of a range can ever be called."""
    return any(_inside(network, other) for other in _NEVER)


def stands_for_ipv4(network: Network) -> bool:
    """Say whether a range holds nothing but other spellings of IPv4 addresses."""
    return any(_inside(network, other) for other in _STAND_INS)


def _hidden(address: ipaddress.IPv6Address) -> list[Address]:
    """Return the IPv4 addresses that a host or network may decode from an address, besides the address itself."""
    found: list[Address] = []
    if _within(address, _COMPATIBLE) or (int(address) >> 32) & 0xFFFFFFFF in _ISATAP:
        found.append(_bits(address, 96))
    if address.teredo is not None:
        found += address.teredo
    if address in _LOCAL_NAT64:
        found += [_bits(address, 96), *_behind_other_prefixes(address)]
    return found


def _behind_other_prefixes(address: ipaddress.IPv6Address) -> list[Address]:
    """Return the address that a translator decodes whose prefix ends at bit 48, 56 or 64; it skips bits 64 to 71."""
    left = int(address) >> 64 << 56 | int(address) & (1 << 56) - 1
    found = [ipaddress.IPv4Address(left >> (88 - start) & 0xFFFFFFFF) for start in (48, 56, 64)]
    # Behind the usual prefix of 96 bits these begin with zeros, as no host's address does.
    return [one for one in found if one not in _NO_HOST]


def _bits(address: ipaddress.IPv6Address, start: int) -> ipaddress.IPv4Address:
    """Return the IPv4 address in the 32 bits from bit `start`, counted from the most significant."""
    return ipaddress.IPv4Address(int(address) >> (96 - start) & 0xFFFFFFFF)


def _of_itself(address: Address) -> Reachability:
    if _within(address, _NEVER):
        return Reachability.NEVER
    if _within(address, _LOOPBACK):
        return Reachability.LOOPBACK
    if isinstance(address, ipaddress.IPv6Address) and address not in _GLOBAL_UNICAST:
        return Reachability.PRIVATE  # IPv6 is public in one block only
    public = address.is_global and not _within(address, _NOT_PUBLIC)
    return Reachability.PUBLIC if public else Reachability.PRIVATE


def _within(address: Address, networks: Iterable[Network]) -> bool:
    return any(address.version == network.version and address in network for network in networks)


def _inside(network: Network, other: Network) -> bool:
    return (
        network.version == other.version and network.network_address in other and network.prefixlen >= other.prefixlen
    )
