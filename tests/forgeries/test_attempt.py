"""The judge of forgeries accepts what a kind must become, and nothing else."""

import random
from contextlib import AbstractContextManager

from tests.forgeries.attempt import Attempt
from tests.forgeries.kinds import Kind, Must, Where
from tests.support.each import each
from tests.support.examination import Finding, Outcome
from tests.support.forger import By, Database

HERE, ELSEWHERE = Finding("verify", "log: it is missing", 7), Finding("verify", "log: it is missing", 8)
PLACE = ("00000000-0000-4000-8000-000000000001", "openai")


def _nowhere() -> AbstractContextManager[Database]:
    raise AssertionError("a judge needs no database")


def attempt(*, refused: bool = False, **kind: bool | Must) -> Attempt:
    must = kind.pop("must", Must.FOUND)
    made = Kind("a kind", By.SUPERUSER, must, lambda f: Where(7), **kind)  # type: ignore[arg-type]
    return Attempt(made, random.Random(0), _nowhere, _nowhere, Where(7), refused)


CASES = {
    "found where it is": (attempt(), Outcome(findings=[ELSEWHERE, HERE]), ""),
    "found elsewhere": (attempt(), Outcome(findings=[ELSEWHERE]), "not found where it is"),
    "not found": (attempt(), Outcome(), "not found where it is"),
    "not found by the service itself": (attempt(unaided=True), Outcome(findings=[HERE]), "not found where it is"),
    "found, and another key used": (attempt(), Outcome(findings=[HERE], used={PLACE: "sk"}), "another key"),
    "an older key used, which this kind may": (attempt(uses=True), Outcome(findings=[HERE], used={PLACE: "sk"}), ""),
    "harmless": (attempt(must=Must.HARMLESS), Outcome(), ""),
    "harmless, and found where it is": (attempt(must=Must.HARMLESS), Outcome(findings=[HERE]), ""),
    "harmless, and found elsewhere": (attempt(must=Must.HARMLESS), Outcome(findings=[ELSEWHERE]), "where it is not"),
    "not harmless to auditors": (attempt(must=Must.HARMLESS), Outcome(believed=["entry 3"]), "auditors read changed"),
    "not harmless to operators": (attempt(must=Must.HARMLESS), Outcome(blocked=["a rotation"]), "holds up operators"),
    "refused, as it may be": (attempt(refused=True, refusable=True), Outcome(), ""),
    "refused, as it may not be": (attempt(refused=True), Outcome(), "may not be"),
    "refused, and yet found": (attempt(refused=True, refusable=True), Outcome(findings=[HERE]), "and yet found"),
}


@each(("tried", "outcome", "wrong"), CASES.values(), ids=CASES)
def test_a_forgery_is_judged_by_its_kind(tried: Attempt, outcome: Outcome, wrong: str) -> None:
    found = tried.wrong(outcome)
    assert (wrong in found) if wrong else not found
