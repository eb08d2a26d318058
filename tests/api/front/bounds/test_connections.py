"""The register of connections: who is counted where, and who makes room."""

from dataclasses import replace
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.front.bounds.chosen import Bounds
from api.front.bounds.connections import PATIENCE_S, Connections
from api.front.bounds.reached import Bound
from api.front.proxies import TrustedProxies

PROXY = "10.0.0.7"


class Fake:
    """A connection that is idle or not, and notes that it had to make way."""

    def __init__(self, *, idle=True):
        self.idle, self.open = idle, True

    def is_idle(self):
        return self.idle

    def make_way(self):
        self.open = False


class Crowd:
    """A register with its connections, in the order in which they came."""

    def __init__(self, **chosen):
        self.reached: list[Bound] = []
        self.time = 0.0
        bounds = replace(Bounds(), **chosen)
        self.register = Connections(
            lambda: bounds,
            lambda: TrustedProxies([ip_network(PROXY)]),
            lambda bound: self.reached.append(bound),
            lambda: self.time,
        )
        self.fakes: list[Fake] = []
        self.places = []

    def come(self, address="192.0.2.1", *, idle=True, key=None, calling=True, spared=False, later=PATIENCE_S):
        self.time += later
        fake = Fake(idle=idle)
        place = self.register.enter(address, fake)
        assert place is not None
        self.fakes.append(fake)
        self.places.append(place)
        proved = key is None or place.prove(key, calling=calling and not spared, spared=spared)
        self.register.make_room()
        return proved

    @property
    def open(self):
        return [number for number, fake in enumerate(self.fakes) if fake.open]


def test_the_oldest_idle_stranger_makes_room_and_no_connection_with_a_key_does():
    crowd = Crowd(connections=4)
    crowd.come(key="a")
    crowd.come(idle=False)
    crowd.come()
    crowd.come()
    crowd.come()
    assert crowd.open == [0, 1, 3, 4]
    crowd.come()
    crowd.come()
    assert crowd.open == [0, 1, 5, 6]
    crowd.come(idle=False)
    crowd.come(idle=False)
    crowd.come(idle=False)
    assert crowd.open == [0, 7, 8, 9], "a stranger that is served makes room when no idle one is left"
    assert set(crowd.reached) == {Bound.CONNECTIONS}


@pytest.mark.parametrize(
    ("addresses", "left"),
    [
        pytest.param(["192.0.2.1"] * 4, [2, 3], id="one address"),
        pytest.param(["192.0.2.1", "192.0.2.2"] * 2, [0, 1, 2, 3], id="two addresses"),
        pytest.param([f"2001:db8::{number}" for number in range(4)], [2, 3], id="one IPv6 network of 64 bits"),
        pytest.param([f"2001:db8:0:{number}::1" for number in range(4)], [0, 1, 2, 3], id="four such networks"),
        pytest.param(["::ffff:192.0.2.1", "192.0.2.1"] * 2, [2, 3], id="one IPv4 address in two spellings"),
        pytest.param(["fe80::1%eth0", "fe80::1%eth1"] * 2, [2, 3], id="an IPv6 address with a zone"),
        pytest.param([PROXY] * 4, [0, 1, 2, 3], id="a trusted proxy"),
        pytest.param([None] * 4, [0, 1, 2, 3], id="no address, as on a UNIX socket"),
    ],
)
def test_strangers_are_counted_by_address(addresses, left):
    crowd = Crowd(address_connections=2)
    for address in addresses:
        crowd.come(address)
    assert crowd.open == left


def test_a_connection_with_a_key_is_not_counted_against_its_address():
    crowd = Crowd(address_connections=1)
    for key in ("a", "b", None):
        crowd.come(key=key)
    assert crowd.open == [0, 1, 2]


def test_strangers_that_are_served_take_no_place_from_one_that_has_just_come_from_their_address():
    crowd = Crowd(address_connections=2)
    for _ in range(3):
        crowd.come(idle=False)
    assert crowd.open == [1, 2]
    crowd.come()
    assert crowd.open == [2, 3]


def test_many_that_come_at_once_from_one_address_have_time_to_present_a_key():
    crowd = Crowd(address_connections=2)
    for _ in range(5):
        crowd.come(later=0)
    assert crowd.open == [0, 1, 2, 3, 4]
    assert crowd.places[0].prove("a", calling=True, spared=False)
    crowd.come()
    assert crowd.open == [0, 4, 5]


def test_of_those_that_have_just_come_the_most_crowded_address_makes_room():
    crowd = Crowd(connections=5, address_connections=4)
    crowd.come("192.0.2.7", later=0)
    for _ in range(6):
        crowd.come("192.0.2.1", later=0)
    assert crowd.open == [0, 3, 4, 5, 6]


def test_a_key_has_its_share_of_requests_under_way_and_leaves_the_rest_to_others():
    crowd = Crowd(connections=10, key_share=50, call_share=90)
    assert [crowd.come(key="a", idle=False) for _ in range(7)] == [True] * 5 + [False] * 2
    assert [crowd.come(key="b", idle=False) for _ in range(4)] == [True] * 3 + [False]
    assert crowd.come(key="c", idle=False)
    assert not crowd.come(key="d", idle=False)
    assert crowd.come(key="root", spared=True)
    assert crowd.reached.count(Bound.KEY_CONNECTIONS) == 2
    assert Bound.CALLS in crowd.reached


def test_keys_that_take_all_they_get_leave_connections_to_another_key():
    crowd = Crowd(connections=1000, address_connections=1000)
    held = {key: sum(crowd.come(key=key, idle=False) for _ in range(1000)) for key in ("a", "b")}
    assert held == {"a": 800, "b": 89}
    assert crowd.come(key="c", idle=False)


def test_idle_connections_of_any_number_refuse_nobody():
    crowd = Crowd(connections=100)
    for key in "ab" * 150:
        assert crowd.come(key=key)
    assert crowd.come(key="c", idle=False)
    assert crowd.come(key="auditor", calling=False, idle=False)
    assert crowd.fakes[-1].open
    assert crowd.fakes[-2].open
    assert crowd.register.count <= 91


def test_the_longest_unused_connection_of_the_key_with_the_most_makes_room():
    crowd = Crowd(connections=10, key_share=80, call_share=90)
    for key in "aaaabbb":
        crowd.come(key=key)
    assert crowd.places[0].prove("a", calling=True, spared=False), "and now it is the last that was used"
    crowd.fakes[1].idle = False
    for key in "cde":
        assert crowd.come(key=key)
    assert crowd.open == [0, 1, 3, 4, 5, 6, 7, 8, 9]
    assert crowd.reached == [Bound.CALLS]


def test_a_key_at_its_share_closes_its_own_idle_connections():
    crowd = Crowd(connections=100, key_share=2, call_share=90)
    for key in ("b", "b", "a", "a", "a"):
        assert crowd.come(key=key)
    assert crowd.open == [0, 1, 3, 4]
    assert crowd.reached == [Bound.KEY_CONNECTIONS]


def test_what_is_no_call_is_not_refused_for_what_callers_hold():
    crowd = Crowd(connections=10, key_share=50)
    for number in range(9):
        crowd.come(key=str(number), idle=False)
    assert not crowd.come(key="app", idle=False)
    crowd.places[-1].leave()
    assert crowd.come(key="auditor", calling=False, idle=False)
    assert not crowd.places[-1].prove("auditor", calling=True, spared=False), "a call on the same connection is one"


def test_a_key_that_is_no_sysadmin_s_has_an_end_to_its_own_requests_under_way():
    crowd = Crowd(connections=10, key_share=50)
    assert [crowd.come(key="auditor", calling=False, idle=False) for _ in range(6)] == [True] * 5 + [False]
    assert [crowd.come(key="root", spared=True, idle=False) for _ in range(3)] == [True] * 3


def test_a_newcomer_takes_the_place_of_an_idle_connection_beyond_the_shares():
    crowd = Crowd(connections=10, call_share=50, key_share=50)
    for _ in range(10):
        crowd.come(key="root", spared=True, idle=False)
    for fake in crowd.fakes:
        fake.idle = True
    crowd.come(later=0)
    assert crowd.open == [*range(1, 11)]


def test_a_connection_counts_for_the_last_key_on_it():
    crowd = Crowd(connections=10, key_share=10)
    crowd.come(key="a", idle=False)
    assert crowd.places[0].prove("b", calling=True, spared=False)
    assert crowd.come(key="a", idle=False)
    assert not crowd.come(key="b", idle=False)
    assert crowd.places[0].prove("c", calling=True, spared=False)
    assert crowd.come(key="b", idle=False)


def test_a_connection_that_is_refused_with_another_key_still_counts_for_its_own():
    crowd = Crowd(connections=10, key_share=10)
    crowd.come(key="a", idle=False)
    crowd.come(key="b", idle=False)
    assert not crowd.places[0].prove("b", calling=True, spared=False)
    assert not crowd.come(key="a", idle=False)


def test_there_is_an_end_to_what_may_arrive_at_once():
    crowd = Crowd(connections=2)
    entered = [crowd.register.enter(None, Fake()) for _ in range(5)]
    assert [place is not None for place in entered] == [True] * 4 + [False]


def test_room_is_made_once_what_had_arrived_has_been_read():
    crowd, turns = Crowd(connections=1), []
    for _ in range(2):
        fake = Fake()
        place = crowd.register.enter(None, fake)
        assert place is not None
        crowd.fakes.append(fake)
        crowd.register.make_room_soon(place, lambda *call: turns.append(call))
    assert len(turns) == 1, "one decision for all of them"
    crowd.fakes[0].idle = False  # its request has been read
    while turns:
        call, *arguments = turns.pop()
        call(*arguments)
    assert crowd.open == [0]


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("come"), st.sampled_from([None, PROXY, "192.0.2.1", "192.0.2.2", "2001:db8::1"])),
        st.tuples(st.just("prove"), st.integers(0, 30), st.sampled_from("abc"), st.booleans(), st.booleans()),
        st.tuples(st.just("leave"), st.integers(0, 30)),
        st.tuples(st.just("room")),
    ),
    max_size=80,
)


@given(STEPS)
def test_whatever_the_order_nothing_is_left_when_all_have_left(steps):
    crowd, places = Crowd(connections=8, address_connections=3, key_share=40), []
    for step, *arguments in steps:
        if step == "come":
            places.append(crowd.register.enter(arguments[0], Fake()))
        elif step == "room":
            crowd.register.make_room()
            assert crowd.register.count <= 8 + sum(bool(place and place.key) for place in places)
        else:
            place = places[arguments[0] % len(places)] if places else None
            if place is not None and step == "prove":
                place.prove(arguments[1], calling=arguments[2], spared=arguments[3])
            elif place is not None:
                place.leave()
    for place in places:
        if place is not None:
            place.leave()
    register = crowd.register
    assert (register.count, register.unproved, register.proved, register.addresses) == (0, 0, 0, 0)
