"""Endpoints as portals and documentation show them, and the one form in which each is kept."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.credentials.built_in_providers import BUILT_IN
from domain.credentials.providers import CredentialConfig, Provider, check
from domain.endpoints.forms import EndpointForm, canonical_endpoint, kept_endpoint
from domain.endpoints.rules import EndpointRules
from domain.errors import InvalidRequestError
from tests.support.each import each

RESOURCE = "https://r-1.openai.azure.com"
FOUNDRY = "https://r-1.services.ai.azure.com"
VERSIONED = [
    name for name, row in BUILT_IN.items() if row.endpoint_form in {EndpointForm.VERSIONED, EndpointForm.ENDED}
]

AZURE = [
    *(
        (RESOURCE + path, RESOURCE)
        for path in (
            *("", "/", "//", "/openai", "/openai/", "/openai/v1", "/openai/v1/", "/v1", "/OpenAI/V1/"),
            *("/openai/deployments/gpt-4o", "/openai/deployments/gpt-4o/", "/openai/deployments/GPT-4o/embeddings"),
            *("/openai/deployments/gpt-4o/chat/completions", "/openai/deployments/gpt-4o/completions"),
            *("/openai/responses", "/openai/v1/responses", "/openai/v1/chat/completions", "/openai/models"),
            *("/openai/deployments/gpt-4o/audio/transcriptions", "/openai/deployments/gpt-4o/images/generations"),
            *("/openai/realtime", "/openai/files", "/deployments/gpt-4o"),
        )
    ),
    *(
        (FOUNDRY + path, FOUNDRY)
        for path in (
            *("/", "/models", "/models/", "/models/chat/completions", "/models/embeddings", "/openai/v1/"),
            *("/openai/deployments/gpt-4o/chat/completions", "/api/projects/p-1", "/api/projects/p-1/openai/v1"),
        )
    ),
    ("HTTPS://R-1.OpenAI.Azure.com:443/", RESOURCE),
    ("https://r-1.cognitiveservices.azure.com/openai/deployments/gpt-4o", "https://r-1.cognitiveservices.azure.com"),
    ("https://r-1.cognitiveservices.azure.com/", "https://r-1.cognitiveservices.azure.com"),
    ("https://gw.example.com/llm/openai/deployments/gpt-4o/", "https://gw.example.com/llm"),
    ("https://gw.example.com/llm", "https://gw.example.com/llm"),
    ("https://gw.example.com/models", "https://gw.example.com/models"),
]


def kept(provider: str, endpoint: str, **config: str) -> str | None:
    rules = EndpointRules.of(["10.0.0.1", "llm.lan", "fd00::/16", "h.example.com"])
    return check(BUILT_IN.named(provider), "sk-0123456789", CredentialConfig(endpoint, **config), rules).config.endpoint


@each(("pasted", "expected"), AZURE)
def test_an_endpoint_of_azure_is_kept_as_its_resource(pasted: str, expected: str) -> None:
    assert kept("azure", pasted, api_version="2024-10-21", deployment_name="gpt-4o") == expected


AZURE_REFUSED = [
    pytest.param(f"{FOUNDRY}/anthropic", "Claude's own API", id="Claude in Foundry"),
    pytest.param(f"{FOUNDRY}/anthropic/v1/messages", "Claude's own API", id="Claude's messages in Foundry"),
    pytest.param(f"{RESOURCE}/contentsafety/text", "a path that azure does not need", id="another service"),
    pytest.param(f"{RESOURCE}/chat/completions", "a path that azure does not need", id="an operation alone"),
    pytest.param(f"{RESOURCE}/openai/deployments/o3", "another deployment than deployment_name", id="other deployment"),
    pytest.param(
        f"{RESOURCE}/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21",
        "write what follows api-version= as api_version",
        id="the API version in a query",
    ),
]


@pytest.mark.parametrize(("pasted", "said"), AZURE_REFUSED)
def test_an_endpoint_of_azure_that_leads_elsewhere_is_refused_with_the_form_wanted(pasted: str, said: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        kept("azure", pasted, api_version="2024-10-21", deployment_name="gpt-4o")
    (error,) = refused.value.fields
    assert error.field == "endpoint"
    assert said in error.rule
    assert "r-1" not in error.rule


OPERATIONS = (
    *("", "/", "/chat/completions", "/chat/completions/", "/completions", "/embeddings", "/responses", "/models"),
    *("/moderations", "/audio/speech", "/audio/transcriptions", "/images/generations", "//chat//completions"),
    *("/fim/completions", "/agents/completions", "/rerank", "/assistants", "/fine_tuning/jobs"),
    *("/models/llama-3.1", "/models/meta-llama/Llama-3.1-70B", "/realtime", "/chat/completions/render", "/score"),
    *("/completions/render", "/tokenize", "/invocations", "/pooling", "/classify"),
)


@each("operation", OPERATIONS)
@each("provider", VERSIONED)
def test_an_endpoint_like_openai_s_is_kept_with_its_version(provider: str, operation: str) -> None:
    assert kept(provider, f"https://H.example.com/v1{operation}") == "https://h.example.com/v1"
    assert kept(provider, f"http://h.example.com:80/gateway/mistral/v1{operation}") == (
        "http://h.example.com/gateway/mistral/v1"
    )


@each("operation", OPERATIONS)
def test_an_endpoint_of_vllm_is_kept_without_version(operation: str) -> None:
    assert kept("vllm", f"http://tenant-vllm:8000/v1{operation}") == "http://tenant-vllm:8000"
    assert kept("vllm", f"https://h.example.com:443/llm/v1{operation}") == "https://h.example.com/llm"


UNVERSIONED = ["tokenize", "detokenize", "generate", "pooling", "invocations", "classify", "score", "rerank", "load"]


@each("path", [*UNVERSIONED, "v2/rerank", "v2/embed", "api/chat", "server_info", "tokenize/"])
def test_an_operation_of_vllm_outside_the_version_is_taken_off(path: str) -> None:
    assert kept("vllm", f"http://tenant-vllm:8000/{path}") == "http://tenant-vllm:8000"


OTHERS = [
    ("vllm", "https://h.example.com/llm/v2/rerank", "https://h.example.com/llm"),
    ("vllm", "https://h.example.com/llm/tokenize", "https://h.example.com/llm"),
    ("vllm", "https://h.example.com/llm/score", "https://h.example.com/llm/score"),
    ("vllm", "https://h.example.com/models/llama-3.1", "https://h.example.com/models/llama-3.1"),
    ("openai", "https://h.example.com/v1/models/gw/v1", "https://h.example.com/v1/models/gw/v1"),
    ("openai", "https://h.example.com/v2/rerank", "https://h.example.com/v2/rerank"),
    ("openai", "https://h.example.com", "https://h.example.com/v1"),
    ("mistral", "http://llm.lan/", "http://llm.lan/v1"),
    ("mistral", "https://h.example.com/gateway/mistral", "https://h.example.com/gateway/mistral/v1"),
    ("openai", "https://h.example.com/chat/completions", "https://h.example.com/v1"),
    ("openai", "https://h.example.com/oai", "https://h.example.com/oai"),
    ("openai", "https://h.example.com/models", "https://h.example.com/models"),
    ("openai", "https://h.example.com/v1beta/openai/", "https://h.example.com/v1beta/openai"),
    ("openai", "https://h.example.com:8443/v1", "https://h.example.com:8443/v1"),
    ("openai", "https://[FD00:0::5]:443/v1", "https://[fd00::5]/v1"),
    ("vllm", "http://tenant-vllm:8000", "http://tenant-vllm:8000"),
    ("vllm", "http://TENANT-vllm:8000/chat/completions", "http://tenant-vllm:8000"),
    ("vllm", "http://10.0.0.1:80/v1", "http://10.0.0.1"),
    ("vllm", "https://[fd00::5]/v1", "https://[fd00::5]"),
    ("vllm", "http://h.example.com/models", "http://h.example.com/models"),
    ("vllm", "http://tenant-vllm:8000/docs", "http://tenant-vllm:8000"),
    ("vllm", "http://tenant-vllm:8000/health/", "http://tenant-vllm:8000"),
    ("vllm", "http://tenant-vllm:8000/llm/metrics", "http://tenant-vllm:8000/llm/metrics"),
    ("mistral", "https://h.example.com/metrics", "https://h.example.com/metrics/v1"),
    ("anthropic", "https://h.example.com/v1/messages", "https://h.example.com"),
    ("anthropic", "https://h.example.com/v1/messages/count_tokens", "https://h.example.com"),
    ("anthropic", "https://h.example.com/v1/", "https://h.example.com"),
    ("anthropic", f"{FOUNDRY}/anthropic/v1/messages", f"{FOUNDRY}/anthropic"),
]


@each(("provider", "pasted", "expected"), OTHERS)
def test_an_endpoint_is_kept_in_one_form(provider: str, pasted: str, expected: str) -> None:
    assert kept(provider, pasted) == expected


SEGMENTS = st.sampled_from(
    (
        *("v1", "openai", "deployments", "gpt-4o", "chat", "completions", "embeddings", "models", "responses", ""),
        *("messages", "api", "projects", "gateway", "files", "v2", "rerank", "tokenize", "generate", "render"),
    )
)


@given(
    st.sampled_from(EndpointForm),
    st.sampled_from(["https://h.example.com", "http://H:80", "https://[FD00::1]:443", RESOURCE, FOUNDRY]),
    st.lists(SEGMENTS, max_size=6),
)
def test_the_form_of_a_form_is_itself(form: EndpointForm, origin: str, segments: list[str]) -> None:
    once = kept_endpoint(form, "/".join((origin, *segments)))
    assert kept_endpoint(form, once) == once


def test_an_endpoint_stored_before_there_was_a_form_is_called_as_it_was() -> None:
    assert kept_endpoint(EndpointForm.AZURE, f"{FOUNDRY}/anthropic/") == f"{FOUNDRY}/anthropic"


OWN = [
    ("https://api.example.com/v1", False, EndpointForm.VERSIONED, "https://h/v1"),
    ("https://api.example.com/openai/v1", False, EndpointForm.VERSIONED, "https://h/v1"),
    ("https://api.example.com", False, EndpointForm.BARE, "https://h"),
    ("https://api.example.com/", False, EndpointForm.BARE, "https://h"),
    ("http://10.0.0.1:11434/v1", True, EndpointForm.ROOT, "https://h"),
    (None, True, EndpointForm.ROOT, "https://h"),
]


@pytest.mark.parametrize(("base_url", "self_hosted", "form", "expected"), OWN)
def test_the_form_of_a_provider_follows_from_its_row(
    base_url: str | None, self_hosted: bool, form: EndpointForm, expected: str
) -> None:
    row = Provider("example", base_url, self_hosted=self_hosted)
    assert row.endpoint_form is form
    assert canonical_endpoint(form, "https://h/chat/completions") == expected
    assert canonical_endpoint(EndpointForm.BARE, "https://h/v1/chat/completions") == "https://h/v1"
