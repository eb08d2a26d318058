"""The tour notices what does not hold, and goes no further."""

import httpx
import pytest

from scripts.demo import tour as guided
from scripts.demo.demo import new_key
from scripts.demo.stand_in_provider import StandInProvider
from scripts.demo.tour import new_stage, tour
from scripts.demo.tour_stage import Step, require
from scripts.terminal.output import Table


@pytest.fixture
def stage():
    """A stage whose service is a careless one: it repeats keys that it does not accept."""
    with (
        StandInProvider(accepted=()) as provider,
        httpx.Client(base_url=provider.url, timeout=60, trust_env=False) as http,
    ):
        yield new_stage(http, provider, "postgresql:///nobody", "a verifier key", new_key("sk-platform"))


def test_the_tour_ends_with_the_first_claim_that_does_not_hold(stage, monkeypatch):
    table = Table(("a",), [("b",)])

    def disproved(_):
        require(False, "water runs uphill")

    steps = [Step("first", lambda _: table), Step("second", disproved), Step("third", lambda _: table)]
    monkeypatch.setattr(guided, "STEPS", steps)
    outcomes = list(tour(stage))
    assert [(outcome.claim, outcome.error) for outcome in outcomes] == [
        ("first", None),
        ("second", "water runs uphill"),
    ]


def test_an_answer_that_shows_a_key_is_noticed(stage):
    stage.http.headers["Authorization"] = f"Bearer {stage.refused_key.reveal()}"
    with pytest.raises(AssertionError, match="a response contains a key"):
        stage.send("POST", "/v1/chat/completions", {"model": "m", "messages": []})


def test_a_service_that_does_not_do_its_job_fails_the_first_claim(stage):
    outcomes = list(tour(stage))
    assert len(outcomes) == 1
    assert "PUT for openai answers 200" in (outcomes[0].error or "")


def test_providers_accept_every_key_of_the_tour_but_the_one_to_be_refused(stage):
    accepted = stage.provider.accepted
    refused = [secret for secret in stage.secrets() if secret.reveal() not in accepted]
    assert refused == [stage.refused_key]


def test_a_stage_shows_no_key(stage):
    assert not any(secret.reveal() in repr(stage) for secret in stage.secrets())
