"""Providers of the operator's own: a few lines of YAML, after which they are providers like all others."""

from pathlib import Path

import pytest

from domain.credentials.built_in_providers import BUILT_IN
from domain.credentials.openai_route_names import ALL_ROUTES
from domain.credentials.providers import Dialect
from keyledger.settings.errors import SettingsError
from keyledger.settings.provider_file import load_providers
from tests.support.places import REPOSITORY


def load(folder: Path, text: str):
    path = folder / "providers.yml"
    path.write_text(text, encoding="utf-8")
    return load_providers(path)


def test_a_name_and_an_address_are_enough(tmp_path):
    row = load(tmp_path, "- {name: example, base_url: 'https://llm.example.com/v1'}\n")["example"]
    assert (row.base_url, row.dialect, row.key_header, row.key_min, row.self_hosted) == (
        "https://llm.example.com/v1",
        Dialect.OPENAI,
        "authorization",
        8,
        False,
    )
    assert (row.rejects_with, row.routes) == ({401}, ALL_ROUTES)
    assert (row.setting("api_key"), row.setting("base_url")) == ("EXAMPLE_API_KEY", "EXAMPLE_API_BASE")


def test_everything_can_be_said_under_one_heading(tmp_path):
    text = """
providers:
  - name: own-llm
    base_url: http://llm.internal:8000
    key_header: X-Api-Key
    key_min: 1
    self_hosted: true
    rejects_with: [403]
    routes: [responses, rerank]
"""
    providers = load(tmp_path, text)
    row = providers["own-llm"]
    assert (row.key_header, row.key_min, row.self_hosted) == ("x-api-key", 1, True)
    assert row.setting("api_key") == "OWN_LLM_API_KEY"
    assert (row.rejects_with, row.routes) == ({401, 403}, {"responses", "rerank"})
    assert list(providers)[:-1] == list(BUILT_IN)


def test_the_documented_servers_are_providers(tmp_path):
    text = (REPOSITORY / "docs" / "configuration.md").read_text(encoding="utf-8")
    (shown,) = [block for block in text.split("```yaml\n") if "name: ollama" in block]
    added = list(load(tmp_path, shown.partition("```")[0]).values())[len(BUILT_IN) :]
    assert [row.name for row in added] == ["ollama", "sglang", "llamacpp", "tgi", "nim"]
    assert all(row.self_hosted and row.key_min == 1 for row in added)


def test_an_empty_file_adds_none(tmp_path):
    assert load(tmp_path, "# none yet\n") == BUILT_IN


@pytest.mark.parametrize(
    ("text", "error"),
    [
        pytest.param("- {base_url: 'https://a.example'}\n", "line 1: name is missing", id="no name"),
        pytest.param("- {name: a}\n", "line 1: base_url is missing", id="no address"),
        pytest.param("- {name: Ä, base_url: 'https://a.example'}\n", "line 1: name must be", id="a bad name"),
        pytest.param(
            "- {name: a, base_url: 'https://a.example/sk-0a1b2c3d4e5f'}\n",
            "line 1: base_url must not hold an API key",
            id="a key in the address",
        ),
        pytest.param(
            "- {name: openai, base_url: 'https://a.example'}\n", "the name 'openai' is already taken", id="built in"
        ),
        pytest.param(
            "- {name: claude, base_url: 'https://a.example'}\n", "the name 'claude' is already taken", id="a family"
        ),
        pytest.param(
            "- {name: a, base_url: 'https://a.example'}\n- {name: a, base_url: 'https://b.example'}\n",
            "line 2: the name 'a' is already taken",
            id="twice",
        ),
        pytest.param(
            "- {name: super, base_url: 'https://a.example'}\n", "would be SUPER_API_KEY", id="whose key is our own"
        ),
        pytest.param(
            "- {name: intric_super, base_url: 'https://a.example'}\n",
            "would be INTRIC_SUPER_API_KEY",
            id="our own also",
        ),
        pytest.param(
            "- {name: a-b, base_url: 'https://a.example'}\n- {name: a_b, base_url: 'https://b.example'}\n",
            "line 2: the key of 'a_b' would be A_B_API_KEY",
            id="one key for two",
        ),
        pytest.param("- {name: a, base_url: 'ftp://a.example'}\n", "base_url must start with", id="no http"),
        pytest.param("- {name: a, base_url: 'https://k@a.example'}\n", "base_url must not hold", id="a user"),
        pytest.param("- {name: a, base_url: 'https://169.254.169.254'}\n", "never allowed", id="metadata"),
        pytest.param(
            "- {name: a, base_url: 'https://a.example', key_header: Host}\n", "key_header must be", id="not for keys"
        ),
        pytest.param("- {name: a, base_url: 'https://a.example', key_min: 0}\n", "key_min must be", id="no length"),
        pytest.param("- {name: a, base_url: 'https://a.example', key_min: x}\n", "whole number", id="no number"),
        pytest.param("- {name: a, base_url: 'https://a.example', self_hosted: 7}\n", "true or false", id="no truth"),
        pytest.param("- {name: a, base_url: 'https://a.example', url: b}\n", "'url' is not known", id="a misspelling"),
        pytest.param(
            "- {name: a, base_url: 'https://a.example', rejects_with: [400]}\n", "rejects_with must list", id="a 400"
        ),
        pytest.param(
            "- {name: a, base_url: 'https://a.example', routes: [chat]}\n", "routes must list", id="no such route"
        ),
        pytest.param("- {name: a, base_url: 'https://a.example', routes: all}\n", "must be a list", id="no list"),
        pytest.param("models: []\n", "'models' is not known", id="another heading"),
        pytest.param("- a\n", "a provider must be a mapping", id="a text"),
    ],
)
def test_a_fault_is_named_with_its_line(tmp_path, text, error):
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, text)
    assert error in caught.value.lines[0]
    assert caught.value.lines[0].startswith("providers.yml: line ")
