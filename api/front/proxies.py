"""The address of a client behind reverse proxies, as reported by trusted proxies only.

Each proxy adds the address of its own peer to the right of one header. The header is read from the right, for as
long as trusted proxies wrote it: the first address that is not a trusted proxy's is the client's.
Promises: without trusted proxies, and for a peer that is not one of them, the address is the peer's, whatever it sends;
neither what is left of the first untrusted address nor any other header counts. Where the next address cannot be read
(`unknown`, an obfuscated name, garbage), the last known one is used. The result is an address, never free text. It is
recorded, and failed authentications are counted by it; no request with a valid key depends on it.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from starlette.datastructures import Headers

Network = IPv4Network | IPv6Network
_Address = IPv4Address | IPv6Address

_HOPS_MAX = 32
_PEER_MAX = 64
_NAME = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PAIR = rf'({_NAME})=({_NAME}|"(?:[^"\\]|\\.)*")'
_ELEMENT = re.compile(rf"{_PAIR}(?:\s*;\s*{_PAIR})*")
_EACH_PAIR = re.compile(_PAIR)
_NODE = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<four>[0-9.]+))(?::(?:[0-9]{1,5}|_[A-Za-z0-9._-]+))?")
_BARE = re.compile(r"[0-9A-Fa-f:.]+")


class ProxyHeader(StrEnum):
    """The header in which proxies report the client: the de facto standard, or that of RFC 7239."""

    X_FORWARDED_FOR = "x-forwarded-for"
    FORWARDED = "forwarded"


def parse_network(text: str) -> Network:
    """Return an address or CIDR range. Raises ValueError, whose text can be shown."""
    try:
        return ip_network(text)
    except ValueError:
        raise ValueError("must be an address or a CIDR range, such as 10.0.0.7 or 10.0.0.0/8") from None


@dataclass(frozen=True, slots=True)
class TrustedProxies:
    """The proxies that are believed about the address of their peer, and the header they write.

    Proxies write one of the two headers and pass the other on as the client sent it, so only one is ever read.
    """

    networks: Sequence[Network] = ()
    header: ProxyHeader = ProxyHeader.X_FORWARDED_FOR

    def client_address(self, peer: str | None, headers: Headers) -> str | None:
        """Return the address to record for a request. peer: who connected, as the server knows it."""
        address = _address(peer) if peer and self.networks else None
        if address is None or not self._trusts(address):
            return peer[:_PEER_MAX] if peer else None
        for reported in _from_the_right(self.header, headers):
            if reported is None:
                break
            address = reported
            if not self._trusts(address):
                break
        return str(address)

    def is_proxy(self, peer: str) -> bool:
        """Say whether an address is that of a trusted proxy."""
        address = _address(peer) if self.networks else None
        return address is not None and self._trusts(address)

    def _trusts(self, address: _Address) -> bool:
        return any(address in network for network in self.networks)


NO_PROXIES = TrustedProxies()
"""No proxy is trusted: the address is that of the connection."""


def _from_the_right(header: ProxyHeader, headers: Headers) -> Iterator[_Address | None]:
    """Yield the addresses in a header, the nearest first, and None for an element without one."""
    read = _forwarded_for if header is ProxyHeader.FORWARDED else _node
    joined = ",".join(headers.getlist(header.value))
    end = len(joined)
    for _ in range(_HOPS_MAX):
        if not joined or end < 0:
            return
        begin = _comma_before(joined, end)
        yield read(joined[begin + 1 : end].strip(" \t"))
        end = begin


def _comma_before(text: str, end: int) -> int:
    """Return where the last element of a list begins, less one.

    The search runs from the right: a quote that a client left open must not hide what a proxy wrote after it.
    """
    quoted = False
    for at in range(end - 1, -1, -1):
        if text[at] == '"' and not _is_escaped(text, at):
            quoted = not quoted
        elif text[at] == "," and not quoted:
            return at
    return -1


def _is_escaped(text: str, at: int) -> bool:
    begin = at
    while begin and text[begin - 1] == "\\":
        begin -= 1
    return (at - begin) % 2 == 1


def _forwarded_for(element: str) -> _Address | None:
    """Return the address in `for` of an element of RFC 7239."""
    if not _ELEMENT.fullmatch(element):
        return None
    nodes = [value for name, value in _EACH_PAIR.findall(element) if name.lower() == "for"]
    if len(nodes) != 1:
        return None
    (node,) = nodes
    return _node(re.sub(r"\\(.)", r"\1", node[1:-1]) if node.startswith('"') else node)


def _node(text: str) -> _Address | None:
    """Return the address of a node: with a port or without, an IPv6 address in brackets or bare."""
    if node := _NODE.fullmatch(text):
        return _address(node["six"] or node["four"])
    return _address(text) if _BARE.fullmatch(text) else None


def _address(text: str) -> _Address | None:
    """Return an address; for an IPv4-mapped IPv6 address, the IPv4 address."""
    try:
        read = ip_address(text)
    except ValueError:
        return None
    return read.ipv4_mapped or read if isinstance(read, IPv6Address) else read
