"""Entries of ENDPOINT_ALLOWED_HOSTS: which are taken, and what is said of the others."""

import pytest

from domain.endpoints.allowed_hosts import allowed_host
from tests.support.each import each

TAKEN = [
    *("llm.lan", "LLM.lan:8000", "*.ml.example", "*.ml.example:8000", "*.internal", "localhost", "localhost:8000"),
    *("10.0.0.5", "10.0.0.5:8000", "[fd00::5]", "[fd00::5]:8000", "fd00::5", "::1", "[::ffff:10.0.0.5]:80"),
    *("10.0.0.0/8", "127.0.0.0/8", "fd00:7::/48", "0.0.0.0/0", "::/0", " llm.lan "),
]

REFUSED = [
    pytest.param("http://llm.lan", "must be host", id="a URL"),
    pytest.param("llm.lan/v1", "must be host", id="a path"),
    pytest.param("10.0.0.0/33", "must be host", id="a range too narrow"),
    pytest.param("10.0.0.0:80/8", "must be host", id="a range with a port"),
    pytest.param("2130706433", "must be host", id="a decimal address"),
    pytest.param("10.1", "must be host", id="a short address"),
    pytest.param("llm..lan", "must be host", id="an empty label"),
    pytest.param("*.10.0.0.1", "must be host", id="addresses below an address"),
    pytest.param("[10.0.0.1]", "must be host", id="IPv4 in brackets"),
    pytest.param("[fd00::5", "must be host", id="half a bracket"),
    pytest.param("fd00::5%eth0", "must be host", id="a zone"),
    pytest.param("user@llm.lan", "must be host", id="a user"),
    pytest.param("*", "must have a * at its front only", id="everything"),
    pytest.param("llm-*.lan", "must have a * at its front only", id="a star inside"),
    pytest.param("*.*.lan", "must have a * at its front only", id="two stars"),
    pytest.param("llm.lan:0", "must name a port between 1 and 65535", id="port 0"),
    pytest.param("llm.lan:99999", "must name a port between 1 and 65535", id="a port that is not one"),
    pytest.param("10.0.0.1/8", "must be a range that begins with its first address", id="an address inside a range"),
    pytest.param("::ffff:10.0.0.0/104", "must be written as the IPv4 range", id="a range of mapped addresses"),
    pytest.param("169.254.169.254", "can never be allowed", id="metadata"),
    pytest.param("[::ffff:169.254.169.254]", "can never be allowed", id="metadata inside v6"),
    pytest.param("169.254.0.0/17", "can never be allowed", id="a range of link-local addresses"),
    pytest.param("fe80::/64", "can never be allowed", id="a range of link-local addresses, v6"),
    pytest.param("224.0.0.0/8", "can never be allowed", id="a range of multicast"),
    pytest.param("0.0.0.0", "can never be allowed", id="the unspecified address"),
    pytest.param("metadata.google.internal", "can never be allowed", id="a metadata name"),
]


@each("entry", TAKEN)
def test_an_entry_is_taken(entry: str) -> None:
    assert allowed_host(entry) == allowed_host(entry.upper())


@each(("entry", "rule"), REFUSED)
def test_an_entry_is_refused_with_the_fix_and_without_being_repeated(entry: str, rule: str) -> None:
    with pytest.raises(ValueError, match="^" + rule.replace("*", "[*]")) as caught:
        allowed_host(entry)
    assert entry not in str(caught.value) or entry == "*"


@pytest.mark.parametrize(
    ("entry", "host", "matched"),
    [
        ("*.ml.example", "a.ml.example", True),
        ("*.ml.example", "a.b.c.ml.example", True),
        ("*.ml.example", "ml.example", False),
        ("*.ml.example", "xml.example", False),
        ("*.ml.example", "a.ml.example.evil.com", False),
        ("llm.lan", "llm.lan", True),
        ("llm.lan", "a.llm.lan", False),
    ],
)
def test_a_star_stands_for_names_below_at_any_depth_and_not_for_the_domain_itself(
    entry: str, host: str, matched: bool
) -> None:
    assert allowed_host(entry).matches(host, 443, None) == matched
