"""The client address recorded for a request that came through proxies, and for one that only says so."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from api.front.proxies import ProxyHeader, TrustedProxies, parse_network
from tests.api.conftest import CREDENTIALS, SUPER_KEY, Harness
from tests.support.asgi import client_on

CLIENT, PROXY, INNER = "203.0.113.9", "10.0.0.1", "10.0.0.2"
TRUSTED = tuple(parse_network(text) for text in ("10.0.0.0/8", "2001:db8:ffff::/48"))
CUSTOMARY = TrustedProxies(TRUSTED)
STANDARD = TrustedProxies(TRUSTED, ProxyHeader.FORWARDED)


def headers(name, *values):
    return Headers(raw=[(name.encode(), value.encode("latin-1")) for value in values])


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param([], PROXY, id="no header"),
        pytest.param([CLIENT], CLIENT, id="one proxy"),
        pytest.param([f"{CLIENT}, {INNER}"], CLIENT, id="two proxies"),
        pytest.param([CLIENT, INNER], CLIENT, id="two proxies, a line each"),
        pytest.param([f"198.51.100.1, {CLIENT}"], CLIENT, id="the client names another"),
        pytest.param(["198.51.100.1", CLIENT], CLIENT, id="the client names another in a line of its own"),
        pytest.param([f"198.51.100.1, 10.9.9.9, {CLIENT}, {INNER}"], CLIENT, id="the client names a trusted one"),
        pytest.param([f"{CLIENT}:4711"], CLIENT, id="a port"),
        pytest.param(["[2001:db8::1]:4711"], "2001:db8::1", id="IPv6 with a port"),
        pytest.param(["[2001:DB8:0::1]"], "2001:db8::1", id="IPv6 in brackets, spelt at length"),
        pytest.param(["2001:db8::1"], "2001:db8::1", id="bare IPv6"),
        pytest.param([f"2001:db8::1,{INNER}, 2001:db8:ffff::2"], "2001:db8::1", id="through IPv4 and IPv6"),
        pytest.param([f"::ffff:{CLIENT}"], CLIENT, id="IPv4 in IPv6 clothing"),
        pytest.param([f"{INNER}, 10.0.0.3"], INNER, id="no one but proxies"),
        pytest.param([f"{CLIENT}, unknown"], PROXY, id="a proxy that does not tell"),
        pytest.param([f"{CLIENT}, unknown, {INNER}"], INNER, id="an inner proxy that does not tell"),
        pytest.param([f"{CLIENT}, _hidden"], PROXY, id="an obfuscated name"),
        pytest.param([f"{CLIENT}, "], PROXY, id="an empty end"),
        pytest.param(["010.0.0.1"], PROXY, id="an octal spelling"),
        pytest.param(["203.0.113.9 evil"], PROXY, id="words"),
        pytest.param(["fe80::1%<script>"], PROXY, id="a zone"),
        pytest.param(['"203.0.113.9"'], PROXY, id="quotes"),
        pytest.param([f"{CLIENT}:99999999"], PROXY, id="no port"),
        pytest.param(["\xff\xfe"], PROXY, id="no ASCII"),
        pytest.param([",".join(["10.0.0.9"] * 9000)], "10.0.0.9", id="without end"),
        pytest.param([f"{CLIENT}, " + '"' * 60_000], PROXY, id="quotes without end"),
    ],
)
def test_the_customary_header_is_read_from_the_right(values, expected):
    assert CUSTOMARY.client_address(PROXY, headers("x-forwarded-for", *values)) == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param([f"for={CLIENT}"], CLIENT, id="one proxy"),
        pytest.param([f'For="{CLIENT}:4711";Proto=https;by={PROXY}'], CLIENT, id="quoted, with a port, among others"),
        pytest.param(['for="[2001:db8::1]:4711"'], "2001:db8::1", id="IPv6 with a port"),
        pytest.param([r'for="\[2001:db8::1\]"'], "2001:db8::1", id="escaped characters"),
        pytest.param([f'for="{CLIENT}:_port"'], CLIENT, id="an obfuscated port"),
        pytest.param([f"proto=https ; for={CLIENT} ; host=x"], CLIENT, id="blanks"),
        pytest.param([f"for={CLIENT}, for={INNER}"], CLIENT, id="two proxies"),
        pytest.param([f"for={CLIENT}", f"for={INNER}"], CLIENT, id="two proxies, a line each"),
        pytest.param([f"for=198.51.100.1, for={CLIENT}"], CLIENT, id="the client names another"),
        pytest.param([f'for="198.51.100.1, for={CLIENT}'], CLIENT, id="the client leaves a quote open"),
        pytest.param([f'for="198.51.100.1\\, for={CLIENT}'], CLIENT, id="the client leaves an escape open"),
        pytest.param(['for="198.51.100.1, for="[2001:db8::1]"'], "2001:db8::1", id="a quote open, a quote closed"),
        pytest.param([f'for="1.1.1.1, for={CLIENT};host="a,b;for=6.6.6.6"'], CLIENT, id="a comma in a quoted host"),
        pytest.param([f"for={CLIENT}, for=unknown"], PROXY, id="a proxy that does not tell"),
        pytest.param([f"for={CLIENT}, for=_hidden, for={INNER}"], INNER, id="an obfuscated name"),
        pytest.param([f"for={CLIENT};for=198.51.100.1"], PROXY, id="two names"),
        pytest.param([f"by={PROXY}"], PROXY, id="no name"),
        pytest.param(["for=2001:db8::1"], PROXY, id="IPv6 without quotes"),
        pytest.param([f"for={CLIENT};"], PROXY, id="an open end"),
        pytest.param([CLIENT], PROXY, id="the other header's form"),
    ],
)
def test_the_header_of_the_standard_is_read_from_the_right(values, expected):
    assert STANDARD.client_address(PROXY, headers("forwarded", *values)) == expected


@pytest.mark.parametrize(
    ("proxies", "peer", "sent", "expected"),
    [
        pytest.param(TrustedProxies(), PROXY, "x-forwarded-for", PROXY, id="no one is trusted"),
        pytest.param(CUSTOMARY, "198.51.100.7", "x-forwarded-for", "198.51.100.7", id="the peer is not a proxy"),
        pytest.param(CUSTOMARY, "testclient", "x-forwarded-for", "testclient", id="the peer has no address"),
        pytest.param(CUSTOMARY, None, "x-forwarded-for", None, id="the peer is not known"),
        pytest.param(CUSTOMARY, PROXY, "forwarded", PROXY, id="the header that the proxies do not write"),
        pytest.param(STANDARD, PROXY, "x-forwarded-for", PROXY, id="the other way round"),
        pytest.param(CUSTOMARY, PROXY, "x-real-ip", PROXY, id="a header that is never read"),
        pytest.param(CUSTOMARY, f"::ffff:{PROXY}", "x-forwarded-for", CLIENT, id="a proxy in IPv6 clothing"),
    ],
)
def test_only_a_trusted_peer_is_believed_and_only_in_its_header(proxies, peer, sent, expected):
    value = f"for={CLIENT}" if sent == "forwarded" else CLIENT
    assert proxies.client_address(peer, headers(sent, value)) == expected


def untrusted():
    addresses = st.ip_addresses(v=4) | st.ip_addresses(v=6)
    unmapped = addresses.map(lambda one: getattr(one, "ipv4_mapped", None) or one)
    return unmapped.filter(lambda one: not any(one in network for network in TRUSTED))


def within(network):
    size = min(network.num_addresses, 2**32)
    return st.integers(0, size - 1).map(lambda number: network[number])


FORGED = st.lists(
    st.text(st.characters(codec="latin-1", exclude_characters="\r\n"), max_size=30)
    | st.sampled_from(["10.0.0.9", "198.51.100.1", 'for="', "for=198.51.100.1", "for=10.0.0.9", "\\", ",", '"', ";"]),
    max_size=6,
)


@st.composite
def journeys(draw):
    """Headers from a client, its address, the proxies it passes, whether each adds a line or continues the last."""
    hops = draw(st.lists(st.sampled_from(TRUSTED).flatmap(within), min_size=1, max_size=4))
    return draw(FORGED), draw(untrusted()), hops, draw(st.lists(st.booleans(), min_size=4, max_size=4))


def written(header, address):
    if header is ProxyHeader.X_FORWARDED_FOR:
        return str(address)
    return f'for="[{address}]"' if address.version == 6 else f"for={address}"


@pytest.mark.parametrize("proxies", [CUSTOMARY, STANDARD], ids=["customary", "standard"])
@given(journeys())
def test_whatever_a_client_sends_its_own_address_is_recorded(proxies, journey):
    forged, client, hops, appending = journey
    lines = list(forged)
    for peer, continues in zip([client, *hops[:-1]], appending, strict=False):
        if continues and lines:
            lines[-1] += f", {written(proxies.header, peer)}"
        else:
            lines.append(written(proxies.header, peer))
    recorded = proxies.client_address(str(hops[-1]), headers(proxies.header.value, *lines))
    assert recorded == str(client)


@pytest.mark.parametrize("proxies", [CUSTOMARY, STANDARD], ids=["customary", "standard"])
@given(untrusted(), FORGED)
def test_whoever_is_no_proxy_is_recorded_as_itself(proxies, client, forged):
    both = Headers(
        raw=[(name, line.encode("latin-1")) for name in (b"forwarded", b"x-forwarded-for") for line in forged]
    )
    assert proxies.client_address(str(client), both) == str(client)


@given(FORGED)
def test_what_is_recorded_is_an_address(forged):
    recorded = CUSTOMARY.client_address(PROXY, headers("x-forwarded-for", *forged))
    assert recorded is not None and recorded == str(ipaddress.ip_address(recorded))


@pytest.mark.parametrize(
    ("peer", "expected"), [pytest.param(PROXY, CLIENT, id="a proxy"), pytest.param(CLIENT, CLIENT, id="the client")]
)
def test_the_audit_tells_the_clients_address(peer, expected):
    harness = Harness(proxies=CUSTOMARY)
    client = client_on(harness.app, {"X-API-Key": SUPER_KEY, "X-Forwarded-For": CLIENT}, (peer, 4711))
    assert client.put(f"{CREDENTIALS}/openai", json={"api_key": "sk-0123456789"}).status_code == 200
    (entry,) = client.get("/api/v1/audit/entries").json()["entries"]
    assert entry["client_address"] == expected
