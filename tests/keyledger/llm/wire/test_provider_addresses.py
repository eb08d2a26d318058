"""The address of a native call, for each provider, however its base URL and the caller's path were written."""

import pytest

from domain.credentials.built_in_providers import BUILT_IN
from domain.credentials.resolution import Receipt, Route, Source
from domain.errors import ErrorCode, ProviderUnavailableError
from keyledger.llm.requests.provider_addresses import provider_address
from tests.support.errors import raises

ACCOUNT = "https://r.openai.azure.com/openai"
DEPLOYED = f"{ACCOUNT}/deployments/dep-1"
VERSION = "api-version=2024-10-21"


def route(provider, base, api_version=None, deployment=None):
    receipt = Receipt(Source.TENANT, provider, 1, "k0123456789")
    return Route(receipt, BUILT_IN[provider], base, True, api_version, deployment, None)


ROWS = [
    ("openai", "https://api.openai.com/v1", "v1/files", "https://api.openai.com/v1/files"),
    ("openai", "https://api.openai.com/v1", "files", "https://api.openai.com/v1/files"),
    ("openai", "https://api.openai.com/v1/", "v1", "https://api.openai.com/v1"),
    ("openai", "https://gw.example.com/oai", "v1/files", "https://gw.example.com/oai/files"),
    ("anthropic", "https://api.anthropic.com", "v1/messages", "https://api.anthropic.com/v1/messages"),
    ("anthropic", "https://api.anthropic.com/v1", "messages", "https://api.anthropic.com/v1/messages"),
    ("mistral", "https://api.mistral.ai/v1", "v1/fim/completions", "https://api.mistral.ai/v1/fim/completions"),
    ("ovhcloud", "https://oai.ovh.example/v1", "v1/models", "https://oai.ovh.example/v1/models"),
    ("berget", "https://api.berget.ai/v1", "v1/models", "https://api.berget.ai/v1/models"),
    ("vllm", "http://10.0.0.1:8000", "v1/models", "http://10.0.0.1:8000/v1/models"),
    ("vllm", "http://10.0.0.1:8000/v1", "models", "http://10.0.0.1:8000/v1/models"),
]


@pytest.mark.parametrize(("provider", "base", "path", "expected"), ROWS)
def test_a_path_lies_behind_the_base_once(provider, base, path, expected):
    assert provider_address(route(provider, base)).url(path, "") == expected
    assert provider_address(route(provider, base)).url(path, "limit=2") == f"{expected}?limit=2"


ELSEWHERE = [
    ("cohere", "https://api.cohere.ai/compatibility/v1", "rerank", "https://api.cohere.ai/v2/rerank"),
    ("cohere", "https://gw.example.com/co/compatibility/v1/", "rerank", "https://gw.example.com/co/v2/rerank"),
    ("cohere", "https://gw.example.com/co/v1", "rerank", "https://gw.example.com/co/v1/rerank"),
    ("cohere", "https://api.cohere.ai/compatibility/v1", "reranks", "https://api.cohere.ai/compatibility/v1/reranks"),
    ("deepseek", "https://api.deepseek.com/v1", "completions", "https://api.deepseek.com/beta/completions"),
    ("perplexity", "https://api.perplexity.ai", "responses/r_1", "https://api.perplexity.ai/v1/responses/r_1"),
    ("perplexity", "https://api.perplexity.ai", "chat/completions", "https://api.perplexity.ai/chat/completions"),
]


@pytest.mark.parametrize(("provider", "base", "path", "expected"), ELSEWHERE)
def test_a_route_may_be_elsewhere_on_the_provider_s_server(provider, base, path, expected):
    address = provider_address(route(provider, base))
    assert address.url(path, "a=1") == f"{expected}?a=1"
    assert address.url(f"v1/{path}", "") == expected


AZURE = [
    ("chat/completions", "", f"{DEPLOYED}/chat/completions?{VERSION}"),
    ("openai/deployments/other/chat/completions", "api-version=1999", f"{DEPLOYED}/chat/completions?{VERSION}"),
    ("OpenAI/Deployments/other/embeddings", "", f"{DEPLOYED}/embeddings?{VERSION}"),
    ("deployments/a/deployments/b/embeddings", "", f"{DEPLOYED}/embeddings?{VERSION}"),
    ("openai/v1/audio/speech", "x=1", f"{DEPLOYED}/audio/speech?{VERSION}&x=1"),
    ("v1/images/generations", "", f"{DEPLOYED}/images/generations?{VERSION}"),
    ("openai/files", "purpose=batch", f"{ACCOUNT}/files?{VERSION}&purpose=batch"),
    ("openai/batches/b1/cancel", "", f"{ACCOUNT}/batches/b1/cancel?{VERSION}"),
]


@pytest.mark.parametrize(("path", "query", "expected"), AZURE)
@pytest.mark.parametrize("ending", ["", "/", "/openai", "/openai/v1"])
def test_azure_gets_the_deployment_and_version_of_the_credential(path, query, expected, ending):
    found = provider_address(route("azure", f"https://r.openai.azure.com{ending}", "2024-10-21", "dep-1"))
    assert found.url(path, query) == expected
    assert found.header.name == "api-key"


@pytest.mark.parametrize("path", ["openai/v1/chat/completions", "chat/completions", "deployments/x/chat/completions"])
def test_azure_without_versions_speaks_plain_openai(path):
    found = provider_address(route("azure", "https://r.openai.azure.com", "v1", "dep-1"))
    assert found.url(path, "api-version=1999") == "https://r.openai.azure.com/openai/v1/chat/completions"
    assert found.header.name == "authorization"


def test_azure_takes_no_escaped_slash_which_could_name_another_deployment():
    found = provider_address(route("azure", "https://r.openai.azure.com", "2024-10-21", "dep-1"))
    with raises(ErrorCode.INVALID_PATH, match="escaped slashes"):
        found.url("deployments%2Fother%2Fchat%2Fcompletions", "")


@pytest.mark.parametrize(("version", "deployment"), [(None, "dep-1"), ("2024-10-21", None), ("2024-10-21", "a/b")])
def test_azure_with_half_a_configuration_is_not_called(version, deployment):
    with pytest.raises(ProviderUnavailableError):
        provider_address(route("azure", "https://r.openai.azure.com", version, deployment))
