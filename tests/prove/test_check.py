"""The comparison of the ledger with the log notices each thing that it exists to notice."""

from math import inf

import pytest

from tests.prove.check import Logged, Read, check
from tests.prove.ledger import DELETE, SET, Command, Ledger, Request, commands_of
from tests.support.each import each

TENANT, PROVIDER = "tenant-1", "openai"


def command(name, *, sent, answered=inf, status=0, kind=SET, again=False):
    request = Request(name, kind, TENANT, PROVIDER, f"sk-{name}" if kind == SET else "", f"c-{name}", sent)
    requests = (request, Request(f"{name}-again", *list(vars(request).values())[1:])) if again else (request,)
    statuses = (status or 200,) if answered < inf or status else ()
    return Command(requests, statuses, answered)


def logged(*requests):
    return [Logged(position, TENANT, PROVIDER, request) for position, request in enumerate(requests, 1)]


def read(key, began):
    return Read(TENANT, PROVIDER, key, began, began + 0.1)


A = command("a", sent=1, answered=2)
B = command("b", sent=3, answered=4)
GONE = command("gone", sent=3, answered=4, kind=DELETE)
UNKNOWN = command("u", sent=3)
TWICE = command("a", sent=1, answered=2, again=True)
REFUSED = command("r", sent=3, status=412)
CASES = {
    "all as promised": ([A, B], ["a", "b"], [read("sk-a", 2.5), read("sk-b", 5)], {}),
    "an acknowledged command is missing": ([A, B], ["a"], [], {"lost": 1}),
    "an acknowledged command is there twice": ([A], ["a", "a"], [], {"doubled": 1}),
    "a repeat made a second event": ([TWICE], ["a", "a-again"], [], {"doubled": 1}),
    "a repeat was carried out once": ([TWICE], ["a-again"], [], {}),
    "an unknown command is there": ([A, UNKNOWN], ["a", "u"], [], {"unknown": 1}),
    "an unknown command is not there": ([A, UNKNOWN], ["a"], [], {"unknown": 1}),
    "an unknown command is there twice": ([A, UNKNOWN], ["a", "u", "u"], [], {"unknown": 1, "doubled": 1}),
    "a refused command is there": ([A, REFUSED], ["a", "r"], [], {"refused": 1, "contradicted": 1}),
    "a refused command is not there": ([A, REFUSED], ["a"], [], {"refused": 1}),
    "a call uses a replaced key": ([A, B], ["a", "b"], [read("sk-a", 5)], {"stale": 1}),
    "a call before the answer may use either": ([A, B], ["a", "b"], [read("sk-a", 3.5), read("sk-b", 3.5)], {}),
    "a call uses a deleted key": ([A, GONE], ["a", "gone"], [read("sk-a", 5)], {"stale": 1}),
    "a call finds nothing after a deletion": ([A, GONE], ["a", "gone"], [read("", 5)], {}),
    "a call finds nothing although a key is set": ([A], ["a"], [read("", 3)], {"stale": 1}),
    "a call finds nothing before anything is set": ([A], ["a"], [read("", 1.5)], {}),
    "a call uses a key that no command set": ([A], ["a"], [read("sk-else", 3)], {"wrong": 1}),
    "a call uses a key before it was sent": ([A, B], ["a", "b"], [read("sk-b", 2.5)], {"wrong": 1}),
    "a call uses a key that did not stay": ([A, UNKNOWN], ["a"], [read("sk-u", 5)], {"unknown": 1, "vanished": 1}),
    "and after a later one was acknowledged": (
        [A, UNKNOWN, command("c", sent=6, answered=7)],
        ["a", "c"],
        [read("sk-u", 8)],
        {"unknown": 1, "stale": 1},
    ),
}  # fmt: skip
BAD = {"lost", "doubled", "contradicted", "wrong", "stale"}


@each(("commands", "log", "reads", "expected"), CASES.values(), ids=CASES)
def test_each_disagreement_is_found_and_nothing_else(commands, log, reads, expected):
    counts = check(commands, logged(*log), reads)
    found = {
        word: number
        for word, number in counts.items()
        if number and word not in {"acknowledged", "reads", "stalest ms"}
    }
    assert found == expected
    assert len(counts.faults) == sum(number for word, number in expected.items() if word in BAD)


@pytest.mark.parametrize(
    ("current", "found"),
    [
        pytest.param("sk-b", 0, id="that of the last event"),
        pytest.param("sk-a", 1, id="an older one"),
        pytest.param("", 1, id="none"),
    ],
)
def test_the_key_in_effect_is_that_of_the_last_event(current, found):
    assert check([A, B], logged("a", "b"), [], {(TENANT, PROVIDER): current})["unlike the log"] == found


def test_a_key_of_another_tenant_is_wrong():
    counts = check([A], logged("a"), [Read("tenant-2", PROVIDER, "sk-a", 3, 4)])
    assert counts["wrong"] == 1


def test_the_ledger_holds_a_request_before_it_is_answered_and_its_repeats_as_one_command(tmp_path):
    with Ledger(tmp_path / "ledger") as ledger:
        first = ledger.sending(SET, TENANT, PROVIDER)
        assert [one.first for one in commands_of(ledger.path)] == [first]
        ledger.answered(first, 503)
        assert not commands_of(ledger.path)[0].acknowledged
        again = ledger.sending(SET, TENANT, PROVIDER, first)
        ledger.answered(again, 200)
        refused = ledger.sending(DELETE, TENANT, PROVIDER)
        ledger.answered(refused, 404)
    one, two = commands_of(tmp_path / "ledger")
    assert (one.requests, one.statuses, one.acknowledged, one.refused) == ((first, again), (503, 200), True, False)
    assert (two.requests, two.acknowledged, two.refused) == ((refused,), False, True)
    assert first.id != again.id
    assert (bool(first.idempotency), bool(refused.idempotency)) == (True, True)
