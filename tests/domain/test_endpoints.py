"""Where a tenant's endpoint may lead."""

import pytest

from domain.endpoints import EndpointRules, address_fault, endpoint_fault

RULES = EndpointRules.of(["vllm.internal", "10.0.0.5:8000", "127.0.0.1:9000", "[fd00::1]:8443", "169.254.169.254"])

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
    pytest.param("https://api.example.com:99999", id="a port that is none"),
    pytest.param("https://api.example.com:", id="a colon without a port"),
    pytest.param("https://api.example.com:x", id="a port in letters"),
    pytest.param("https://localhost", id="localhost"),
    pytest.param("https://intranet", id="a single label"),
    pytest.param("https://db.internal", id="an internal name"),
    pytest.param("https://printer.local", id="an mDNS name"),
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
    pytest.param("https://169.254.169.254", id="metadata, although listed"),
    pytest.param("http://169.254.169.254/latest", id="metadata over http, although listed"),
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


@pytest.mark.parametrize("endpoint", ALLOWED)
def test_an_endpoint_is_allowed(endpoint: str) -> None:
    assert endpoint_fault(endpoint, RULES) is None


@pytest.mark.parametrize("endpoint", REFUSED)
def test_an_endpoint_is_refused_without_being_repeated(endpoint: str) -> None:
    fault = endpoint_fault(endpoint, RULES)
    assert fault is not None
    assert endpoint.removeprefix("https://") not in fault or endpoint == "https://"


ADDRESSES = [
    pytest.param("93.184.216.34", "api.example.com", None, id="a public address"),
    pytest.param("10.0.0.7", "api.example.com", "private-address", id="a public name that leads to a private address"),
    pytest.param("10.0.0.7", "vllm.internal", None, id="a listed name may be private"),
    pytest.param("127.0.0.1", "127.0.0.1", None, id="a listed address"),
    pytest.param("169.254.169.254", "vllm.internal", "link-local-or-metadata-address", id="a listed name, metadata"),
    pytest.param("::ffff:127.0.0.1", "api.example.com", "private-address", id="loopback inside v6"),
    pytest.param("fe80::1%eth0", "vllm.internal", "link-local-or-metadata-address", id="link local with a zone"),
]


@pytest.mark.parametrize(("address", "host", "fault"), ADDRESSES)
def test_the_address_a_call_connects_to_is_checked_again(address: str, host: str, fault: str | None) -> None:
    assert address_fault(address, host, 9000, RULES) == fault
