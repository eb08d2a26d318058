"""The network of a client: the unit in which clients without a valid key are counted.

Promises: an IPv4 address stands for itself; an IPv6 address for its /64, because one subscriber holds at least that
many addresses. An IPv4 address within an IPv6 address (mapped, NAT64, 6to4) stands for itself. Anything that is not an
address stands for itself too.
"""

import re
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

_NAT64 = IPv6Network("64:ff9b::/96")
_HALF = 64
_IN_ADDRESS = re.compile("[0-9a-f.:/]+|[^%]*%.*")


def network_of(address: str | None) -> str:
    """Return the network of an address, such as `192.0.2.7` or `2001:db8::/64`; empty without an address."""
    if address is None:
        return ""
    return _six(address) if ":" in address else address


@lru_cache(1 << 10)
def _six(text: str) -> str:
    try:
        address = ip_address(text)
    except ValueError:
        return text
    if not isinstance(address, IPv6Address):
        return text
    if address in _NAT64:
        return str(IPv4Address(int(address) & 0xFFFFFFFF))
    if inner := address.ipv4_mapped or address.sixtofour:
        return str(inner)
    return f"{IPv6Address(int(address) >> _HALF << _HALF)}/{_HALF}"


def common_client(one: str | None, other: str | None) -> str | None:
    """Return the address that two requests share, else their common network, else None."""
    if one == other:
        return one
    network = network_of(one)
    return network if network and network == network_of(other) else None


def may_be_in_address(text: str) -> bool:
    """Say whether a recorded address can contain a text in lower case, other than in the name of its interface."""
    return _IN_ADDRESS.fullmatch(text) is not None
