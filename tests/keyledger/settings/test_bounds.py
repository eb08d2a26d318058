"""Settings of the bounds."""

import resource

import pytest

from api.front.bounds.chosen import Bounds
from keyledger.settings.bounds import allow_descriptors, possible_connections
from keyledger.settings.errors import SettingsError
from keyledger.settings.settings import load


def bounds_of(**environ):
    return load(environ, None).bounds


@pytest.fixture
def descriptors(monkeypatch):
    """Gives a function that sets the soft and hard limit of file descriptors, and a list of later changes."""
    changes: list[tuple[int, int]] = []

    def limit(soft, hard=resource.RLIM_INFINITY):
        monkeypatch.setattr(resource, "getrlimit", lambda which: (soft, hard))
        monkeypatch.setattr(resource, "setrlimit", lambda which, limits: changes.append(limits))
        return changes

    limit(65536)
    return limit


def test_the_defaults_are_those_of_the_value(descriptors):
    assert bounds_of() == Bounds()


@pytest.mark.parametrize(
    ("name", "value", "member", "expected"),
    [
        ("MAX_CONNECTIONS", "200", "connections", 200),
        ("MAX_CONNECTIONS_PER_ADDRESS", "5", "address_connections", 5),
        ("KEY_SHARE", "90", "key_share", 90),
        ("CALL_SHARE", "100", "call_share", 100),
        ("TENANT_SHARE", "1", "tenant_share", 1),
        ("PROVIDER_SHARE", "50", "provider_share", 50),
        ("KEY_REQUESTS_PER_MINUTE", "600", "key_requests", 600),
        ("TENANT_CALLS_PER_MINUTE", "60", "tenant_calls", 60),
        ("PROVIDER_CALLS_PER_MINUTE", "0", "provider_calls", 0),
        ("KEY_BODY_MIB", "16", "key_body_bytes", 16 * 1024 * 1024),
        ("BODY_MIB", "64", "body_bytes", 64 * 1024 * 1024),
        ("READER_SECONDS", "5", "reader_seconds", 5),
    ],
)
def test_each_bound_is_a_setting(name, value, member, expected, descriptors):
    assert getattr(bounds_of(**{name: value}), member) == expected


def test_a_key_may_hold_a_third_of_the_bodies_unless_it_is_set(descriptors):
    assert bounds_of(BODY_MIB="99").key_body_bytes == 33 * 1024 * 1024
    assert bounds_of(BODY_MIB="10").key_body_bytes == 8 * 1024 * 1024
    assert bounds_of(BODY_MIB="99", KEY_BODY_MIB="66").key_body_bytes == 66 * 1024 * 1024


@pytest.mark.parametrize("value", ["-1", "0", "101", "many", "1e2", "4.5", "٤٠", "99999999999999"])
def test_a_share_that_is_none_is_refused(value):
    with pytest.raises(SettingsError, match="TENANT_SHARE: must be a whole number from 1 to 100"):
        bounds_of(TENANT_SHARE=value)


@pytest.mark.parametrize(("soft", "possible"), [(1024, 480), (256, 96), (70, 3), (10, 1)])
def test_there_are_no_more_connections_than_descriptors_allow(soft, possible, descriptors):
    descriptors(soft)
    assert possible_connections() == possible
    assert bounds_of().connections == possible
    assert load({"MAX_CONNECTIONS": "900"}, None).warnings == (
        f"MAX_CONNECTIONS: the limit of file descriptors (ulimit -n) allows only {possible}",
        *load({}, None).warnings,
    )


@pytest.mark.parametrize(
    ("soft", "hard", "change"),
    [
        pytest.param(1024, 4096, [(2064, 4096)], id="raised as far as needed"),
        pytest.param(1024, 1500, [(1500, 1500)], id="raised as far as possible"),
        pytest.param(1024, resource.RLIM_INFINITY, [(2064, resource.RLIM_INFINITY)], id="no hard limit"),
        pytest.param(65536, 65536, [], id="high enough"),
        pytest.param(resource.RLIM_INFINITY, resource.RLIM_INFINITY, [], id="no limit"),
    ],
)
def test_a_low_soft_limit_of_descriptors_is_raised(soft, hard, change, descriptors):
    changes = descriptors(soft, hard)
    allow_descriptors()
    assert changes == change
