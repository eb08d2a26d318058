"""The answers of services that were disturbed, judged: what may be said, and when."""

from collections.abc import Collection, Iterable, Sequence
from math import inf

from tests.prove.client import Answer
from tests.prove.ledger import DELETE, SET
from tests.prove.load import accusation
from tests.prove.part import Counts

_CHANGES = (SET, DELETE)
_EXPECTED = {
    SET: {0, 200, 409, 503},
    DELETE: {0, 200, 404, 409, 503},
    "call": {0, 200, 424, 502, 503},
    "readyz": {0, 200, 503},
}
_SHOWN = 5
_GRACE_S = 1.0


def accusers(answers: Iterable[Answer]) -> dict[str, tuple[float, str]]:
    """Return the services that said that the log went back or was rewritten: when first, and in which words."""
    found: dict[str, tuple[float, str]] = {}
    for answer in answers:
        if (text := accusation(answer)) and answer.by not in found:
            found[answer.by] = (answer.ended, text)
    return found


def judge_answers(answers: Sequence[Answer], counts: Counts) -> None:
    """Count answers that no client expects, and 503 without Retry-After; note how long the longest 503 took."""
    counts["unexpected answers"] += 0
    longest = max((answer.seconds for answer in answers if answer.status == 503), default=0)
    counts["longest 503 ms"] = max(counts["longest 503 ms"], round(1000 * longest))
    for answer in answers:
        patient = answer.status != 503 or answer.retry_after or answer.action == "readyz"
        if answer.status in _EXPECTED[answer.action] and patient:
            continue
        counts["unexpected answers"] += 1
        if counts["unexpected answers"] <= _SHOWN:
            said = f"{answer.action} at {answer.by} was answered {answer.status} {answer.text[:300]}"
            counts.faults.append(f"unexpected answer: {said}{'' if patient else ' without Retry-After'}")


def judge_disputed(answers: Sequence[Answer], counts: Counts) -> None:
    """Find changes acknowledged by a service that had already said that its log is not to be trusted."""
    disputed = accusers(answers)
    late = [
        answer
        for answer in answers
        if answer.action in _CHANGES
        and answer.succeeded
        and answer.at > disputed.get(answer.by, (inf, ""))[0] + _GRACE_S
    ]
    counts["acknowledged on a disputed log"] += len(late)
    if late:
        when, text = disputed[late[0].by]
        counts.faults.append(
            f"{late[0].by} acknowledged {len(late)} changes, the first {late[0].at - when:.1f} s after its /readyz had"
            f" said that the log {text}"
        )


def judge_accusations(answers: Sequence[Answer], counts: Counts) -> None:
    """Find services that say that the log went back although nothing acknowledged is missing."""
    counts["false anchors"] += 0
    if counts["lost"]:
        return
    for name, (_, text) in accusers(answers).items():
        counts["false anchors"] += 1
        counts.faults.append(f"false anchor: nothing acknowledged is missing, and {name} says that the log {text}")


def judge_silence(answers: Sequence[Answer], lost: Collection[str], counts: Counts) -> None:
    """Find services that acknowledged a request whose change is gone, and do not say so. lost: ids of requests."""
    owing = {answer.by for answer in answers if answer.succeeded and answer.request in lost}
    silent = owing - accusers(answers).keys()
    counts["silent"] += len(silent)
    for name in sorted(silent):
        number = len({answer.request for answer in answers if answer.by == name and answer.request in lost})
        counts.faults.append(f"silent: {name} acknowledged {number} changes that the log no longer holds, and is ready")
