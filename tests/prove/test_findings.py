"""The judges of `make prove`: each accusation that they make, and the answers that they leave alone."""

import json

import pytest

from tests.prove.client import Answer
from tests.prove.findings import judge_accusations, judge_answers, judge_disputed, judge_silence
from tests.prove.part import Counts

BACK = json.dumps({"checks": {"log": {"ok": False, "text": "went back: position 6 was recorded, the end is at 3"}}})


def answer(action="set", status=200, at=1.0, text="", retry_after=True, request="", by="first"):
    return Answer(by, action, status, text, retry_after, at, 0.1, request)


ACCUSED = answer("readyz", 503, at=5, text=BACK)
ORDINARY = [answer(), answer("delete", 404), answer("call", 424), answer("set", 503), answer("set", 0)]
UNEXPECTED = {
    "an error of the program": answer(status=500),
    "a 503 without Retry-After": answer(status=503, retry_after=False),
    "a change that is forbidden": answer(status=403),
    "a call answered with a redirect": answer("call", 302),
}


@pytest.mark.parametrize("found", UNEXPECTED.values(), ids=UNEXPECTED)
def test_an_answer_that_no_client_expects_is_found_among_ordinary_ones(found):
    counts = Counts()
    judge_answers([*ORDINARY, found], counts)
    assert (counts["unexpected answers"], len(counts.faults)) == (1, 1)


def test_ordinary_answers_are_left_alone():
    counts = Counts()
    judge_answers(ORDINARY, counts)
    assert (counts.faults, counts["longest 503 ms"]) == ([], 100)


@pytest.mark.parametrize(("lost", "found"), [(0, 1), (1, 0)])
def test_a_service_that_says_the_log_went_back_is_right_only_if_something_is_lost(lost, found):
    counts = Counts(lost=lost)
    judge_accusations([answer(), ACCUSED], counts)
    assert (counts["false anchors"], len(counts.faults)) == (found, found)


@pytest.mark.parametrize(
    ("later", "found"),
    [
        pytest.param(answer(at=9), 1, id="a change acknowledged afterwards"),
        pytest.param(answer(at=4), 0, id="a change acknowledged before"),
        pytest.param(answer(at=9, by="second"), 0, id="by a service that does not say so"),
        pytest.param(answer(status=503, at=9), 0, id="a change refused afterwards"),
    ],
)
def test_a_service_that_distrusts_its_log_acknowledges_nothing(later, found):
    counts = Counts()
    judge_disputed([ACCUSED, later], counts)
    assert (counts["acknowledged on a disputed log"], len(counts.faults)) == (found, found)


@pytest.mark.parametrize(
    ("answers", "found"),
    [
        pytest.param([answer(request="r1")], 1, id="the one that acknowledged it says nothing"),
        pytest.param([answer(request="r1"), ACCUSED], 0, id="it says so"),
        pytest.param([answer(request="r1", by="second"), ACCUSED], 1, id="only another one says so"),
        pytest.param([answer(request="r2")], 0, id="nothing that it acknowledged is lost"),
    ],
)
def test_a_lost_tail_is_not_to_be_kept_quiet(answers, found):
    counts = Counts()
    judge_silence(answers, {"r1"}, counts)
    assert (counts["silent"], len(counts.faults)) == (found, found)
