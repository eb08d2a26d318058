"""The report of the part `model`, when its operations do not fail in the same way again."""

from typing import ClassVar

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from tests.prove.parts.model import report_of

QUICK = settings(
    max_examples=4,
    stateful_step_count=5,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.generate, Phase.shrink),
)


class FailsOnce(RuleBasedStateMachine):
    """Fails at its first step ever, and draws other data from then on."""

    failed: ClassVar[bool] = False

    @rule(data=st.data())
    def step(self, data: st.DataObject) -> None:
        if FailsOnce.failed:
            data.draw(st.text())
            return
        data.draw(st.integers())
        FailsOnce.failed = True
        raise AssertionError("the key of another tenant")


def test_the_first_failure_is_shown_also_where_it_does_not_happen_again() -> None:
    (report,) = report_of(FailsOnce, 1, QUICK)
    assert "Inconsistent data generation" in report
    assert "AssertionError: the key of another tenant" in report
