"""The addresses that a tenant's endpoint may have."""

from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.endpoints.rules import OPERATORS_OWN, EndpointRules, address_error, endpoint_error
from tests.support.each import each

RULES = EndpointRules.of(
    [
        *("vllm.internal", "10.0.0.5:8000", "127.0.0.1:9000", "[fd00::1]:8443", "*.ml.example", "*.Dev.example:8000"),
        *("172.20.0.0/16", "fd00:7::/48", "localhost:8000"),
    ]
)
STRICT = EndpointRules.of([], listed_only=True)
EVERYTHING = EndpointRules.of(["0.0.0.0/0", "::/0", "llm.example.com"])

ALLOWED = [
    "https://api.example.com",
    "https://api.example.com/v1",
    "https://api.example.com:8443/openai/v1/",
    "https://EU.Example.com/v1",
    "https://93.184.216.34/v1",
    "https://[2606:2800:220:1::1]/v1",
    "http://vllm.internal/v1",
    "https://vllm.internal:8443",
    "http://10.0.0.5:8000/v1",
    "http://127.0.0.1:9000",
    "http://[fd00::1]:8443/v1",
    "http://a.ml.example/v1",
    "http://a.b.ml.example",
    "http://gpu.dev.example:8000",
    "http://172.20.1.1:1234",
    "http://[fd00:7::1]",
    "http://[::ffff:172.20.1.1]",
    "http://localhost:8000",
]

REFUSED = [
    pytest.param("ftp://api.example.com", id="another scheme"),
    pytest.param("api.example.com/v1", id="no scheme"),
    pytest.param("https://", id="no host"),
    pytest.param("https:///v1", id="an empty host"),
    pytest.param("http://api.example.com", id="http to a public host"),
    pytest.param("https://user:secret@api.example.com", id="a user and a password"),
    pytest.param("https://api.example.com@evil.example.com", id="a user that looks like a host"),
    pytest.param("https://api.example.com\\@evil.example.com", id="a backslash"),
    pytest.param("https://api.example.com/v1?key=1", id="a query"),
    pytest.param("https://api.example.com/v1?", id="an empty query"),
    pytest.param("https://api.example.com/v1#x", id="a fragment"),
    pytest.param("https://api.example.com/v1/../admin", id="dot segments"),
    pytest.param("https://api.example.com/v1/%2e%2e/admin", id="escaped dot segments"),
    pytest.param("https://api.example.com/v 1", id="a space"),
    pytest.param("https://api.example.com/\r\nX: 1", id="a line break"),
    pytest.param("https://api.example.com:0", id="port 0"),
    pytest.param("https://api.example.com:99999", id="a port that is not one"),
    pytest.param("https://api.example.com:", id="a colon without a port"),
    pytest.param("https://api.example.com:x", id="a port in letters"),
    pytest.param("https://localhost", id="localhost"),
    pytest.param("https://intranet", id="a single label"),
    pytest.param("https://db.internal", id="an internal name"),
    pytest.param("https://printer.local", id="an mDNS name"),
    pytest.param("https://kubernetes.default.svc", id="a service of a cluster"),
    pytest.param("https://llm.service.consul", id="a service of Consul"),
    pytest.param("https://llm.corp", id="a name of a company"),
    pytest.param("https://router.home", id="a name of a home"),
    pytest.param("https://abcdefghij.onion", id="an onion name"),
    pytest.param("https://10.1.2.3.nip.io", id="a name that spells a private address"),
    pytest.param("https://93-184-216-34.sslip.io", id="a name that spells any address"),
    pytest.param("https://app.localtest.me", id="a public name for loopback"),
    pytest.param("http://ml.example", id="the domain above a listed suffix"),
    pytest.param("http://xml.example", id="a name that only ends like a listed suffix"),
    pytest.param("http://gpu.dev.example:8001", id="another port below a listed suffix"),
    pytest.param("https://172.21.0.1", id="an address alongside a listed range"),
    pytest.param("https://[::172.20.1.1]", id="a listed range in the deprecated compatible form"),
    pytest.param("https://localhost:8001", id="another port of localhost"),
    pytest.param("https://127.0.0.1", id="loopback"),
    pytest.param("https://127.0.0.1:9001", id="another port of a listed host"),
    pytest.param("https://10.0.0.5", id="a listed host without its port"),
    pytest.param("https://10.1.2.3", id="private, 10/8"),
    pytest.param("https://172.16.0.1", id="private, 172.16/12"),
    pytest.param("https://192.168.1.1", id="private, 192.168/16"),
    pytest.param("https://100.64.0.1", id="shared, 100.64/10"),
    pytest.param("https://0.0.0.0", id="the unspecified address"),
    pytest.param("https://[::]", id="the unspecified address, v6"),
    pytest.param("https://[::1]", id="loopback, v6"),
    pytest.param("https://[fd00::2]", id="unique local, v6"),
    pytest.param("https://[::ffff:10.0.0.1]", id="private inside v6"),
    pytest.param("https://[::ffff:169.254.169.254]", id="metadata inside v6"),
    pytest.param("https://[64:ff9b::a9fe:a9fe]", id="metadata behind NAT64"),
    pytest.param("https://[2002:a9fe:a9fe::]", id="metadata behind 6to4"),
    pytest.param("https://[fe80::1]", id="link local, v6"),
    pytest.param("https://[fec0::1]", id="site local, v6"),
    pytest.param("https://[64:ff9b:1::a9fe:a9fe]", id="metadata behind a NAT64 of local use"),
    pytest.param("https://[::127.0.0.1]", id="loopback in the deprecated compatible form"),
    pytest.param("https://[::a00:1]", id="private in the deprecated compatible form"),
    pytest.param("https://[::ffff:0:127.0.0.1]", id="loopback in the translated form"),
    pytest.param("https://[5f00::1]", id="segment routing, v6"),
    pytest.param("https://[3fff::1]", id="documentation, v6"),
    pytest.param("https://[2001:db8::1]", id="documentation, the older block"),
    pytest.param("https://[2001::1]", id="Teredo"),
    pytest.param("https://192.88.99.1", id="the relay anycast of 6to4"),
    pytest.param("https://169.254.169.254", id="metadata"),
    pytest.param("http://169.254.169.254/latest", id="metadata over http"),
    pytest.param("https://100.100.100.200", id="metadata of another cloud"),
    pytest.param("https://168.63.129.16", id="the wire server of a cloud"),
    pytest.param("https://metadata.google.internal", id="a metadata name"),
    pytest.param("https://2130706433", id="a decimal address"),
    pytest.param("https://0x7f000001", id="a hexadecimal address"),
    pytest.param("https://0177.0.0.1", id="an octal address"),
    pytest.param("https://127.1", id="a short address"),
    pytest.param("https://example.0x7f", id="a name that ends in a number"),
    pytest.param("https://exämple.com", id="letters outside ASCII"),
    pytest.param("https://-x.example.com", id="a label that starts with a dash"),
    pytest.param("https://api..example.com", id="an empty label"),
    pytest.param("https://api.example.com.", id="a trailing dot"),
    pytest.param("https://api.example.com/" + "a" * 2048, id="too long"),
]


@each("endpoint", ALLOWED)
def test_an_endpoint_is_allowed(endpoint: str) -> None:
    assert endpoint_error(endpoint, RULES) is None


@each("endpoint", REFUSED)
def test_an_endpoint_is_refused_without_being_repeated(endpoint: str) -> None:
    error = endpoint_error(endpoint, RULES)
    assert error is not None
    assert endpoint.removeprefix("https://") not in error or endpoint == "https://"


SELF_HOSTED = [
    "http://tenant-vllm:8000",
    "http://tenant-vllm.internal:8000",
    "http://llm.default.svc.cluster.local/v1",
    "http://10.1.2.3:8000",
    "https://[fd00::5]/v1",
    "http://100.64.0.9:8000",
    "http://[64:ff9b:1::10.1.2.3]:8000",
    "http://llm.example.com",
]


@pytest.mark.parametrize("endpoint", SELF_HOSTED)
def test_a_self_hosted_provider_may_use_http_and_private_hosts_unless_they_have_to_be_listed(endpoint: str) -> None:
    assert endpoint_error(endpoint, EndpointRules(), self_hosted=True) is None
    assert endpoint_error(endpoint, EndpointRules()) is not None
    assert endpoint_error(endpoint, STRICT, self_hosted=True) is not None


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "api.localhost", "LOCALHOST", "localhost.localdomain", "ip6-localhost", "lvh.me", "a.lvh.me"),
        *("127.0.0.1", "127.8.9.1", "[::1]", "[::ffff:127.0.0.1]", "[64:ff9b::127.0.0.1]", "127-0-0-1.nip.io"),
    ],
)
def test_loopback_has_to_be_listed_for_a_self_hosted_provider_too(host: str) -> None:
    error = endpoint_error(f"http://{host}:8000", EndpointRules(), self_hosted=True)
    assert error == "names a loopback host; an operator can list it in ENDPOINT_ALLOWED_HOSTS"


NEVER = {
    "unspecified": "0.0.0.0",
    "link-local": "169.254.7.7",
    "cloud metadata": "169.254.169.254",
    "metadata of another cloud": "100.100.100.200",
    "wire server of a cloud": "168.63.129.16",
    "multicast": "224.0.0.251",
    "broadcast": "255.255.255.255",
}


def octets(address: str) -> tuple[int, int, int, int]:
    first, second, third, fourth = (int(part) for part in address.split("."))
    return first, second, third, fourth


def _local_nat64(address: str, prefix: int) -> str:
    """Write an IPv4 address behind a NAT64 prefix of 64:ff9b:1::/48 with that many bits (RFC 6052, 2.2)."""
    packed = bytes(octets(address))
    before = bytes.fromhex("0064ff9b0001") + bytes((prefix - 48) // 8)
    room = 8 - len(before)
    whole = before + packed[:room] + b"\0" + packed[room:]
    return str(IPv6Address(whole.ljust(16, b"\0")))


def _teredo(address: str) -> str:
    obscured = bytes(0xFF ^ octet for octet in octets(address))
    return str(IPv6Address(bytes.fromhex("200100005db8d8220000ffff") + obscured))


DISGUISES: dict[str, Callable[[str], str]] = {
    "itself": lambda address: address,
    "mapped": lambda address: f"::ffff:{address}",
    "mapped, in full": lambda address: IPv6Address(f"::ffff:{address}").exploded,
    "compatible": lambda address: f"::{address}",
    "translated": lambda address: f"::ffff:0:{address}",
    "6to4": lambda address: "2002:{:02x}{:02x}:{:02x}{:02x}::1".format(*octets(address)),
    "NAT64": lambda address: f"64:ff9b::{address}",
    "local NAT64": lambda address: f"64:ff9b:1::{address}",
    "local NAT64 with a prefix of its own": lambda address: f"64:ff9b:1:7:8:9:{address}",
    "local NAT64, prefix of 48 bits": lambda address: _local_nat64(address, 48),
    "local NAT64, prefix of 56 bits": lambda address: _local_nat64(address, 56),
    "local NAT64, prefix of 64 bits": lambda address: _local_nat64(address, 64),
    "Teredo, as the client": _teredo,
    "Teredo, as the server": lambda address: "2001:0:{:02x}{:02x}:{:02x}{:02x}::1".format(*octets(address)),
    "ISATAP": lambda address: f"2606:2800:220:1::5efe:{address}",
    "ISATAP, unique": lambda address: f"fd00::200:5efe:{address}",
}
DISGUISED = [
    pytest.param(wrap(address), id=f"{what}: {disguise}")
    for what, address in NEVER.items()
    for disguise, wrap in DISGUISES.items()
]
NEVER_AS_WELL = [
    pytest.param(address, id=what)
    for what, address in {
        "unspecified": "::",
        "the network itself": "0.1.2.3",
        "link-local": "fe80::1",
        "multicast": "ff02::1",
        "metadata of AWS": "fd00:ec2::254",
        "credentials of pods at AWS": "fd00:ec2::23",
        "metadata of Google": "fd20:ce::254",
        "metadata of Oracle": "fd00:c1::a9fe:a9fe",
        "metadata of Scaleway": "fd00:42::42",
    }.items()
]


@each("self_hosted", [True, False], ids=["self-hosted", "cloud"])
@each("address", [*DISGUISED, *NEVER_AS_WELL])
def test_what_is_never_called_is_refused_in_every_disguise_at_write_and_at_connect_listed_or_not(
    address: str, self_hosted: bool
) -> None:
    shown = f"[{address}]" if ":" in address else address
    for rules in (EVERYTHING, OPERATORS_OWN, EndpointRules()):
        for scheme in ("https", "http"):
            error = endpoint_error(f"{scheme}://{shown}/v1", rules, self_hosted=self_hosted)
            assert error is not None and "never allowed" in error
        for host in (address, "llm.example.com"):
            reason = address_error(address, host, 443, rules, self_hosted=self_hosted)
            assert reason == "link-local-or-metadata-address"


@given(
    st.ip_addresses(v=4, network="169.254.0.0/16") | st.ip_addresses(v=4, network="224.0.0.0/4"),
    st.sampled_from(sorted(DISGUISES)),
)
def test_no_link_local_or_multicast_address_passes_in_any_disguise(inner: IPv4Address, disguise: str) -> None:
    address = DISGUISES[disguise](str(inner))
    assert address_error(address, "llm.example.com", 443, EVERYTHING, self_hosted=True) is not None


@pytest.mark.parametrize("zone", ["eth0", "1", "lo"])
@pytest.mark.parametrize("address", ["2606:2800:220:1::1", "fd00::5", "fe80::1", "::1"])
def test_an_address_with_a_zone_is_refused_at_write_and_at_connect(address: str, zone: str) -> None:
    for separator in ("%", "%25"):
        assert endpoint_error(f"https://[{address}{separator}{zone}]/v1", EVERYTHING, self_hosted=True) is not None
    assert address_error(f"{address}%{zone}", "llm.example.com", 443, EVERYTHING, self_hosted=True) is not None


@pytest.mark.parametrize(
    "endpoint",
    [
        *("http://169.254.169.254.nip.io", "http://169-254-169-254.sslip.io", "http://a9fea9fe.nip.io"),
        *("http://metadata.google.internal", "http://metadata", "http://instance-data"),
    ],
)
def test_a_name_that_says_it_leads_to_metadata_is_refused_for_self_hosted_providers_too(endpoint: str) -> None:
    for rules in (EVERYTHING, OPERATORS_OWN, EndpointRules()):
        assert "never allowed" in (endpoint_error(endpoint, rules, self_hosted=True) or "")


ADDRESSES = [
    pytest.param("93.184.216.34", "api.example.com", None, None, id="a public address"),
    pytest.param("64:ff9b::5db8:d822", "api.example.com", None, None, id="a public address behind NAT64"),
    pytest.param("10.0.0.7", "api.example.com", "private-address", None, id="a private address behind a public name"),
    pytest.param("::ffff:10.0.0.7", "api.example.com", "private-address", None, id="a private address inside v6"),
    pytest.param("10.0.0.7", "vllm.internal", None, None, id="a listed name may be private"),
    pytest.param("127.0.0.1", "a.b.ml.example", None, None, id="a name below a listed suffix may be loopback"),
    pytest.param("172.20.0.9", "api.example.com", None, None, id="an address of a listed range, by any name"),
    pytest.param("::ffff:172.20.0.9", "api.example.com", None, None, id="an address of a listed range, inside v6"),
    pytest.param("fd00:7::9", "api.example.com", None, None, id="an address of a listed range, v6"),
    pytest.param("::172.20.0.9", "api.example.com", "private-address", None, id="a listed range, compatible form"),
    pytest.param("127.0.0.1", "127.0.0.1", None, None, id="a listed address"),
    pytest.param("127.0.0.1", "api.example.com", None, None, id="a listed address, by any name"),
    pytest.param("127.0.0.2", "api.example.com", "loopback-address", "loopback-address", id="loopback"),
    pytest.param("::1", "tenant-vllm", "loopback-address", "loopback-address", id="loopback, v6"),
    pytest.param("no address", "tenant-vllm", *["link-local-or-metadata-address"] * 2, id="no address at all"),
]


@each(("address", "host", "cloud", "self_hosted"), ADDRESSES)
def test_the_address_a_call_connects_to_is_checked_again(
    address: str, host: str, cloud: str | None, self_hosted: str | None
) -> None:
    assert address_error(address, host, 9000, RULES) == cloud
    assert address_error(address, host, 9000, RULES, self_hosted=True) == self_hosted


def test_a_self_hosted_provider_connects_to_private_addresses_unless_they_have_to_be_listed() -> None:
    assert address_error("10.0.0.7", "tenant-vllm", 8000, EndpointRules(), self_hosted=True) is None
    assert address_error("10.0.0.7", "tenant-vllm", 8000, STRICT, self_hosted=True) == "private-address"
