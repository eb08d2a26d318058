"""Addresses inside other addresses and names: whatever hides one, it is classified by the worst that is in it."""

from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address

import pytest

from domain.endpoints.rules import EndpointRules, address_error, endpoint_error
from tests.support.each import each

UNLISTED = EndpointRules()
EVERYTHING = EndpointRules.of(["0.0.0.0/0", "::/0", "*.sslip.io", "*.nip.io"])

NEVER = {
    "metadata": "169.254.169.254",
    "metadata of Tencent": "169.254.0.23",
    "metadata of Alibaba": "100.100.100.200",
    "Azure's wire server": "168.63.129.16",
    "metadata of Oracle": "192.0.0.192",
    "multicast": "224.0.0.251",
    "broadcast": "255.255.255.255",
}
INSIDE = {"loopback": "127.0.0.1", "10/8": "10.1.2.3", "172.16/12": "172.16.0.1", "192.168/16": "192.168.1.1"}


def behind(prefix: str, length: int) -> Callable[[IPv4Address], IPv6Address]:
    """How RFC 6052 writes an address behind a prefix: bits 64 to 71 are left out."""

    def written(address: IPv4Address) -> IPv6Address:
        bits = list(f"{int(IPv6Address(prefix)):0128b}")
        places = [place for place in range(length, 128) if not 64 <= place < 72 or length == 96]
        for place, bit in zip(places, f"{int(address):032b}", strict=False):
            bits[place] = bit
        return IPv6Address(int("".join(bits), 2))

    return written


def at(start: str, shift: int = 0, mask: int = 0) -> Callable[[IPv4Address], IPv6Address]:
    return lambda address: IPv6Address(int(IPv6Address(start)) | (int(address) ^ mask) << shift)


FORMS: dict[str, Callable[[IPv4Address], IPv6Address]] = {
    "mapped": at("::ffff:0:0"),
    "compatible": at("::"),
    "translated": at("::ffff:0:0:0"),
    "NAT64": behind("64:ff9b::", 96),
    "local NAT64, 48 bits": behind("64:ff9b:1::", 48),
    "local NAT64, 56 bits": behind("64:ff9b:1:aa00::", 56),
    "local NAT64, 64 bits": behind("64:ff9b:1:aabb::", 64),
    "local NAT64, 96 bits": behind("64:ff9b:1::", 96),
    "6to4": at("2002::1", 80),
    "Teredo's client": at("2001:0:808:808::", mask=0xFFFFFFFF),
    "Teredo's server": at("2001::", 64),
    "ISATAP": at("2606:4700::5efe:0:0"),
    "ISATAP, universal": at("2606:4700::200:5efe:0:0"),
    "ISATAP, link-local": at("fe80::5efe:0:0"),
}
HIDDEN_NEVER = [
    pytest.param(str(form(IPv4Address(text))), id=f"{what}, {how}")
    for what, text in NEVER.items()
    for how, form in FORMS.items()
]
HIDDEN_INSIDE = [
    pytest.param(str(form(IPv4Address(text))), id=f"{what}, {how}")
    for what, text in INSIDE.items()
    for how, form in FORMS.items()
]


@each("address", HIDDEN_NEVER)
def test_a_hidden_address_that_is_never_called_is_refused_listed_or_not(address: str) -> None:
    for rules in (UNLISTED, EVERYTHING):
        for self_hosted in (False, True):
            refused = endpoint_error(f"https://[{address}]/v1", rules, self_hosted=self_hosted)
            assert refused and "never allowed" in refused
            refused = address_error(address, "llm.example.com", 443, rules, self_hosted=self_hosted)
            assert refused == "link-local-or-metadata-address"


@each("address", HIDDEN_INSIDE)
def test_a_hidden_private_address_is_refused_for_a_cloud_provider(address: str) -> None:
    assert endpoint_error(f"https://[{address}]/v1", UNLISTED) is not None
    assert address_error(address, "llm.example.com", 443, UNLISTED) is not None


SPELT_NEVER = (
    *("169.254.169.254.nip.io", "a.169-254-169-254.nip.io", "a9fea9fe.nip.io", "app-a9fea9fe.sslip.io"),
    *("www.169.254.169.254.sslip.io", "169.254.169.254.xip.io", "169-254-169-254.traefik.me"),
    *("fe80--1.sslip.io", "a.fe80--1.sslip.io", "64-ff9b--a9fe-a9fe.sslip.io", "64-ff9b-1--a9fe-a9fe.sslip.io"),
    *("fd00-ec2--254.sslip.io", "2002-a9fe-a9fe--1.sslip.io", "100-100-100-200.sslip.io"),
    *("metadata", "metadata.google.internal", "metadata.goog", "instance-data", "instance-data.ec2.internal"),
    *("metadata.azure.internal", "metadata.tencentyun.com", "rancher-metadata"),
)


@each("name", SPELT_NEVER)
def test_a_name_that_spells_or_is_known_for_such_an_address_is_refused_listed_or_not(name: str) -> None:
    for rules in (UNLISTED, EVERYTHING):
        for self_hosted in (False, True):
            refused = endpoint_error(f"https://{name}", rules, self_hosted=self_hosted)
            assert refused and "never allowed" in refused


LOCAL = (
    *("kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local", "llm.service.consul"),
    *("llm.corp", "router.home", "a.home.arpa", "4.3.2.1.in-addr.arpa", "llm.internal", "llm.local", "llm.lan"),
    *("host.docker.internal", "llm.intra", "llm.priv", "llm.private", "llm.test", "llm", "mail.mail", "a.onion"),
    *("llm.docker", "llm.lxd", "llm.localdomain", "llm.workgroup", "llm.intranet", "a.invalid", "93.184.216.34.nip.io"),
)


@each("name", LOCAL)
def test_a_name_that_cannot_be_public_is_for_self_hosted_providers_only(name: str) -> None:
    assert endpoint_error(f"https://{name}/v1", UNLISTED) == (
        "names a private host; an operator can list it in ENDPOINT_ALLOWED_HOSTS"
    )
    assert endpoint_error(f"http://{name}:8000", UNLISTED, self_hosted=True) is None


NOT_CANONICAL = (
    *("2852039166", "0xa9fea9fe", "0XA9FEA9FE", "0251.0376.0251.0376", "169.254.43518", "169.16689662", "127.1", "0"),
    *("0xa9.0xfe.0xa9.0xfe", "0x7f.1", "017700000001", "4294967295", "00000169.254.169.254", "169.254.169.254."),
    *("127.0.0.1%00.example.com", "169.254.169.254%20", "0o177.0.0.1", "1.2.3", "a.b.0", "example.08", "example.0xa"),
    *("①⑥⑨.254.169.254", "169。254。169。254", "[fe80::1%25eth0]", "[2606:2800:220:1::1%25lo]", "[::1%251]"),
    *("[fe80::1%eth0]", "[::ffff:169.254.169.254%25x]", "[fe80::1]%eth0", "[v1.fe80]", "[::1", "999.999.999.999"),
)


@each("host", NOT_CANONICAL)
def test_another_notation_of_an_address_is_refused_even_for_a_self_hosted_provider(host: str) -> None:
    assert endpoint_error(f"http://{host}/v1", EVERYTHING, self_hosted=True) is not None
