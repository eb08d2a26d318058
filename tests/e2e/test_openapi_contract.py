"""The whole service on real parts keeps what /openapi.json says, for requests that fit it and for requests that do not.

Nothing leaves the machine: every provider of the catalogue is the stand-in, and an endpoint that the service would
accept is replaced by the stand-in's.
"""

import itertools
import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any
from unittest import SkipTest
from urllib.parse import urlsplit

import pytest
import requests
import schemathesis
import yaml
from hypothesis import HealthCheck, settings
from schemathesis.checks import load_all_checks
from schemathesis.config import SchemathesisConfig
from schemathesis.generation.feedback import NO_FEEDBACK
from schemathesis.generation.meta import TestPhase
from schemathesis.pytest._test_builder import build_operation_test
from schemathesis.schemas import APIOperation

from domain.endpoints.rules import EndpointRules, endpoint_error
from scripts.demo.stand_in_provider import StandInProvider
from tests.support.checker import check
from tests.support.effort import CONTRACT_EXAMPLES, SHARE
from tests.support.places import GOLDEN
from tests.support.postgres import TemplatedServer
from tests.support.service import ADMIN_KEY, environment, served
from tests.support.store import open_store

# The service and the stand-in run in threads of this process, and draw random numbers while requests are generated.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Do not use the `random` module inside strategies:hypothesis.errors.HypothesisDeprecationWarning"
)
ACCEPTED = ["2xx", "3xx", "404", "412", "403", "423", "424"]
"""The last three: other requests may have frozen the tenant, or made a policy that does not allow this one."""
CONFIG = SchemathesisConfig.from_dict(
    {
        "generation": {
            "mode": "all",
            "deterministic": True,
            "max-examples": CONTRACT_EXAMPLES,
            # Generated keys would be 401 and nothing else; what keys may do has tests of its own.
            "with-security-parameters": False,
        },
        "checks": {"positive_data_acceptance": {"expected-statuses": ACCEPTED}},
        "operations": [
            {
                # Which settings a provider needs and which endpoints are allowed is more than a schema can say, and a
                # policy may have the provider asked.
                "include-operation-id": ["setCredential", "setOwnCredential"],
                "checks": {"positive_data_acceptance": {"expected-statuses": [*ACCEPTED, "422", "502", "504"]}},
            },
            {
                # That a time is not in the future is more than a schema can say.
                "include-operation-id": ["listCredentials", "listOwnCredentials"],
                "checks": {"positive_data_acceptance": {"expected-statuses": [*ACCEPTED, "422"]}},
            },
            {
                # What a filter says as text, and twice, is more than a schema can say.
                "include-operation-id": ["listAuditEntries", "exportAudit"],
                "checks": {"positive_data_acceptance": {"expected-statuses": [*ACCEPTED, "422"]}},
            },
            {
                # JSON allows integers of any length, and the service takes those of up to 64 bits; messages and inputs
                # have rules that the document leaves out.
                "include-tag": "models",
                "checks": {"positive_data_acceptance": {"expected-statuses": [*ACCEPTED, "400", "422"]}},
            },
            {
                # Bodies are the provider's to judge, but for the model; the stand-in does not know every route.
                "include-tag": "relayed models",
                "checks": {
                    "negative_data_rejection": {"enabled": False},
                    "positive_data_acceptance": {"expected-statuses": [*ACCEPTED, "400", "403", "422"]},
                },
            },
            {
                # Which scopes fit a role, which names are taken and when a time is in the future is more than a schema
                # can say.
                "include-tag": "access keys",
                "checks": {"positive_data_acceptance": {"expected-statuses": [*ACCEPTED, "409", "422"]}},
            },
            {
                # A provider need not answer, or say whether it accepts a key.
                "include-operation-id": ["checkCredential", "checkOwnCredential"],
                "checks": {"positive_data_acceptance": {"expected-statuses": [*ACCEPTED, "400", "429", "502", "504"]}},
            },
            {
                # Which names and labels are well formed is more than a schema can say.
                "include-tag": "tenants",
                "checks": {"positive_data_acceptance": {"expected-statuses": [*ACCEPTED, "422"]}},
            },
            {
                # These are for browsers; without a session, or the sign-in that a browser began, they refuse.
                "include-tag": "sign-in",
                "checks": {"positive_data_acceptance": {"expected-statuses": [*ACCEPTED, "401", "403"]}},
            },
            {
                # That one rotation and one replay run at a time, and which key is needed, no schema can say.
                "include-operation-id": ["startKeyRotation", "startReplay", "retireEncryptionKey"],
                "checks": {"positive_data_acceptance": {"expected-statuses": [*ACCEPTED, "409"]}},
            },
            {
                # Bodies, and paths beyond a schema's reach, are the provider's to judge; ours have tests of their own.
                # A provider without a credential is 424; what its global key does not serve is 403.
                "include-tag": "providers",
                "checks": {
                    "negative_data_rejection": {"enabled": False},
                    "positive_data_acceptance": {"expected-statuses": [*ACCEPTED, "403", "424"]},
                },
            },
        ],
    }
)
_PATHS = json.loads((GOLDEN / "openapi.json").read_text(encoding="utf-8"))["paths"]
OPERATIONS = [f"{method.upper()} {path}" for path, members in _PATHS.items() for method in members]
PROVIDERS = {"gpt-4o": "openai", "claude-sonnet-4-5": "anthropic", "mistral-small": "mistral"}
TENANT = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
"""The tenant of the document's examples, which generated requests use."""
EMBEDDER = "text-embedding-3-small"


@dataclass(frozen=True)
class Stage:
    url: str
    session: requests.Session
    provider: StandInProvider
    turns: Iterator[int] = field(default_factory=itertools.count)

    def has_its_turn(self, case: Any) -> bool:
        """Say whether a request is sent: each random one, and a share of those that cover the schema value by value."""
        return case.meta.phase.name != TestPhase.COVERAGE or next(self.turns) % SHARE == 0

    def lift_rules(self) -> None:
        """Undo the rules that generated requests made for the tenant of the examples, so that its calls are served."""
        tenant = f"{self.url}/api/v1/sysadmin/tenants/{TENANT}"
        for answer in (
            self.session.post(f"{tenant}/thaw", timeout=60),
            self.session.put(f"{tenant}/policy", json={}, timeout=60),
        ):
            assert answer.status_code in {200, 204, 404, 409}, answer.text

    def kept_here(self, body: object) -> object:
        """The body of a request, with an endpoint that would lead elsewhere led to the stand-in."""
        if isinstance(body, dict) and isinstance(endpoint := body.get("endpoint"), str):
            rules = EndpointRules.of([urlsplit(self.provider.url).netloc])
            if endpoint_error(endpoint, rules) is None:
                return {**body, "endpoint": self.provider.url}
        return body


@pytest.fixture(scope="module")
def stage(postgres_server: TemplatedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    models = tmp_path_factory.mktemp("models") / "ai_models.yml"
    models.write_text(yaml.safe_dump(_catalogue()), encoding="utf-8")
    with postgres_server.fresh_database() as database_url:
        with ExitStack() as stack:
            provider = stack.enter_context(StandInProvider(accepted=lambda key: True))
            given = environment(
                AI_MODELS_FILE=str(models),
                ENDPOINT_ALLOWED_HOSTS=urlsplit(provider.url).netloc,
                **{f"{name.upper()}_API_BASE": provider.url for name in PROVIDERS.values()},
                **{f"{name.upper()}_API_KEY": f"global-key-of-{name}" for name in PROVIDERS.values()},
            )
            url = stack.enter_context(served(database_url, given))
            session = stack.enter_context(requests.Session())
            session.trust_env = False
            session.headers["X-API-Key"] = ADMIN_KEY
            yield Stage(url, session, provider)
        with open_store(database_url) as store:  # the service has stored its last records
            check(store)


def _catalogue() -> dict[str, object]:
    chat = [_entry(name, provider) for name, provider in PROVIDERS.items()]
    return {"completion_models": chat, "embedding_models": [_entry(EMBEDDER, "openai")]}


def _entry(name: str, provider: str) -> dict[str, str]:
    return {"name": name, "family": provider, "litellm_model_name": f"{provider}/{name}"}


@pytest.fixture(scope="module")
def operations(stage: Stage) -> Mapping[str, APIOperation]:
    """The operations of the served document, by method and path."""
    document = stage.session.get(f"{stage.url}/openapi.json", timeout=60).json()
    found: Any = schemathesis.openapi.from_dict(document, config=CONFIG).get_all_operations()
    return {operation.label: operation for operation in (one.ok() for one in found)}


def test_every_operation_of_the_served_document_is_tried(operations: Mapping[str, APIOperation]) -> None:
    assert sorted(operations) == sorted(OPERATIONS)


# `schema.parametrize()` would generate the requests of all operations in every worker, while it collects.
@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_keeps_to_its_document(stage: Stage, operations: Mapping[str, APIOperation], name: str) -> None:
    load_all_checks()
    operation = operations[name]
    check_all = build_operation_test(
        config=operation.schema.config,
        operation=operation,
        test_func=keeps_to_its_document,
        given_kwargs={},
        feedback=NO_FEEDBACK,
    )
    try:
        check_all(stage=stage)
    except SkipTest as nothing_generated:
        pytest.fail(str(nothing_generated))
    finally:
        if name.endswith(("/policy", "/freeze")):
            stage.lift_rules()


# Schemathesis takes the number of its own configuration only where that of Hypothesis is Hypothesis's default.
@settings(deadline=None, max_examples=CONTRACT_EXAMPLES, suppress_health_check=list(HealthCheck))
def keeps_to_its_document(case: Any, stage: Stage) -> None:
    if not stage.has_its_turn(case):
        return
    if "0" in {(case.headers or {}).get("If-Match"), (case.headers or {}).get("If-None-Match")}:
        return  # a slip of the generator, which calls this valid although it breaks the documented pattern
    if "transfer-encoding" in {name.lower() for name in case.headers or {}}:
        return  # it frames the message: a wrong one is answered by the HTTP server, in its own words
    kept_here = stage.kept_here(case.body)
    if (
        kept_here is not case.body
    ):  # a body that is set, even to itself, is judged once more: one left out is then wrong
        case.body = kept_here
    case.call_and_validate(base_url=stage.url, session=stage.session, timeout=60)
