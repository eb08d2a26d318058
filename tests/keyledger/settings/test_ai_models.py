"""The catalogue of models: what cannot be served is left out, what no one can understand is refused."""

from dataclasses import replace
from pathlib import Path

import pytest

from domain.calls.models import Adapter, ModelKind
from domain.credentials.built_in_providers import BUILT_IN
from domain.errors import ErrorCode
from keyledger.settings.ai_models import load_catalogue
from keyledger.settings.errors import SettingsError
from tests.support.errors import raises
from tests.support.places import REPOSITORY

SHIPPED = REPOSITORY / "ai_models.yml"


def load(folder: Path, text: str):
    path = folder / "models.yml"
    path.write_text(text, encoding="utf-8")
    return load_catalogue(path)


def errors(folder: Path, text: str) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        load(folder, text)
    assert all(line.startswith("models.yml: ") for line in caught.value.lines)
    return tuple(line.removeprefix("models.yml: ") for line in caught.value.lines)


LEGACY = {"openai", "anthropic", "mistral", "ovhcloud", "berget", "azure", "vllm"}
"""Providers that other programs called before tenants had keys."""


def test_the_shipped_catalogue_has_models_of_every_provider_and_every_kind():
    models = load_catalogue(SHIPPED).models
    chats = [m for m in models if m.kind is ModelKind.COMPLETION]
    assert {m.provider for m in chats if m.adapter is Adapter.LITELLM} == set(BUILT_IN)
    assert {m.provider for m in models if m.adapter is Adapter.LEGACY} == LEGACY
    assert {m.provider for m in models if m.kind is ModelKind.EMBEDDING} >= LEGACY - {"anthropic"}
    assert {m.kind for m in models} == set(ModelKind)


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        pytest.param(
            "family: openai, litellm_model_name: openai/gpt-x",
            ("openai", Adapter.LITELLM, "gpt-x"),
            id="a provider and a name",
        ),
        pytest.param(
            "family: vllm, litellm_model_name: vllm/meta-llama/L-3",
            ("vllm", Adapter.LITELLM, "meta-llama/L-3"),
            id="slashes",
        ),
        pytest.param("litellm_model_name: hosted_vllm/x", ("vllm", Adapter.LITELLM, "x"), id="another name of vllm"),
        pytest.param(
            "family: openai, litellm_model_name: berget/x", ("berget", Adapter.LITELLM, "x"), id="the prefix decides"
        ),
        pytest.param("family: claude", ("anthropic", Adapter.LEGACY, "m"), id="legacy by family"),
        pytest.param("family: azure, litellm_model_name: null", ("azure", Adapter.LEGACY, "m"), id="null means none"),
        pytest.param("family: openai, litellm_model_name:", ("openai", Adapter.LEGACY, "m"), id="nothing means none"),
    ],
)
def test_an_entry_says_how_its_model_is_called(tmp_path, entry, expected):
    catalogue = load(tmp_path, f"completion_models:\n  - {{name: m, {entry}, token_limit: 5, vision: true}}\n")
    assert [(m.kind, m.provider, m.adapter, m.upstream_name) for m in catalogue.models] == [
        (ModelKind.COMPLETION, *expected)
    ]


@pytest.mark.parametrize("provider", sorted(BUILT_IN))
def test_litellm_is_needed_only_where_it_writes_the_requests(tmp_path, provider):
    text = "completion_models:\n"
    text += f"  - {{name: chat, litellm_model_name: {provider}/x}}\n  - {{name: old, family: {provider}}}\n"
    if provider != "anthropic":
        text += f"embedding_models:\n  - {{name: vectors, litellm_model_name: {provider}/y}}\n"
    needed = {model.name: model.by_litellm for model in load(tmp_path, text).models}
    assert needed.pop("chat") is (provider in {"openai", "azure", "anthropic"})
    assert not any(needed.values())


def test_a_model_that_is_not_listed_is_unknown_and_the_file_is_named(tmp_path):
    catalogue = load(tmp_path, "completion_models: []\nembedding_models:\n")
    with raises(ErrorCode.UNKNOWN_MODEL, match=r"models\.yml"):
        catalogue.model("m")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("", "line 1: must be a mapping with completion_models and embedding_models", id="an empty file"),
        pytest.param("5\n", "line 1: must be a mapping with completion_models and embedding_models", id="a number"),
        pytest.param("- a\n", "line 1: a model must be a mapping with a name", id="a list of texts"),
        pytest.param("completion_models: 5\n", "line 1: completion_models must be a list", id="a number for a list"),
        pytest.param("completion_models:\n  - gpt\n", "line 2: a model must be a mapping with a name", id="a text"),
        pytest.param("completion_models:\n  - family: openai\n", "line 2: name is missing", id="no name"),
        pytest.param(
            "completion_models:\n  - name: 4.1\n    family: openai\n",
            "line 2: name must be a text",
            id="a number as name",
        ),
        pytest.param(
            "completion_models:\n  - name: ' '\n    family: openai\n", "line 2: name must be a text", id="a blank name"
        ),
        pytest.param(
            "completion_models:\n  - name: a\n    family: openai\n    name: b\n",
            "line 4: 'name' is written twice",
            id="a field twice",
        ),
        pytest.param(
            "completion_models:\n  - {name: a, family: openai}\nembedding_models:\n  - {name: a, family: openai}\n",
            "line 4: the name 'a' is already taken, in line 2",
            id="a name twice",
        ),
        pytest.param(
            "- {name: a, family: openai, aliases: [b]}\n- {name: b, family: openai}\n",
            "line 2: the name 'b' is already taken, in line 1",
            id="a name that is an alias",
        ),
        pytest.param(
            "- {name: 'o/*', litellm_model_name: 'openai/*', aliases: [b]}\n",
            "line 1: a pattern cannot have aliases",
            id="an alias of a pattern",
        ),
        pytest.param("completion_models: [\n", "line 2: is not YAML", id="broken YAML"),
        pytest.param(
            "completion_models: !!python/name:os.system\n", "line 1: completion_models must be a list", id="a tag"
        ),
        pytest.param("completion_models:\n  - name: \x01\n", "is not YAML", id="an unprintable character"),
    ],
)
def test_a_fault_is_named_with_its_line(tmp_path, text, expected):
    (error,) = errors(tmp_path, text)
    assert expected in error


def test_all_faults_are_named_at_once(tmp_path):
    text = """
completion_models:
  - name: 4
  - family: openai
  - name: a
    family: openai
  - name: a
    family: openai
"""
    found = errors(tmp_path, text)
    assert [error.split(":")[0] for error in found] == ["line 3", "line 4", "line 7"]


def test_a_file_that_is_not_there_or_not_text_is_refused(tmp_path):
    with pytest.raises(SettingsError, match=r"cannot be read \(\w+( \w+)+\)"):
        load_catalogue(tmp_path / "none.yml")
    (tmp_path / "bytes.yml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingsError, match="not UTF-8"):
        load_catalogue(tmp_path / "bytes.yml")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param(
            "- name: a\n  litellm_model_name: example/x\n",
            "(line 2: the provider 'example' is not known; add it to providers.yml",
            id="a provider that is not known",
        ),
        pytest.param(
            "- name: a\n  litellm_model_name: gpt-4o\n",
            "(line 2: litellm_model_name has no provider; write provider/name)",
            id="no provider",
        ),
        pytest.param(
            "- name: a\n  litellm_model_name: openai/\n",
            "(line 2: litellm_model_name has no provider; write provider/name)",
            id="a provider without a name",
        ),
        pytest.param(
            "embedding_models:\n  - name: a\n    family: e5\n",
            "(line 3: the family 'e5' is not known",
            id="a family that is not known",
        ),
        pytest.param("- name: a\n", "(line 1: has neither litellm_model_name nor family", id="neither"),
        pytest.param(
            "video_models:\n  - name: a\n    family: openai\n", "(line 2: video_models are not served here", id="images"
        ),
        pytest.param(
            "embedding_models:\n  - {name: a, family: claude}\n", "anthropic offers no embeddings", id="no embeddings"
        ),
        pytest.param(
            "- {name: 'a*', litellm_model_name: openai/x}\n", "a pattern needs one * at the end", id="half a pattern"
        ),
    ],
)
def test_a_model_that_cannot_be_served_is_left_out_with_its_line_and_the_rest_is_served(tmp_path, text, reason):
    served = "completion_models" if text.startswith(("embedding", "video")) else None
    more = f"{served}:\n" if served else ""
    catalogue = load(tmp_path, f"{text}{more}- {{name: other, family: openai}}\n")
    assert [model.name for model in catalogue.models] == ["other"]
    assert reason in catalogue.summary()


def test_what_stands_in_a_section_for_other_programs_may_have_any_form(tmp_path):
    catalogue = load(tmp_path, "version: 3\nvideo_models: {a: 1}\ncompletion_models:\n- {name: m, family: openai}\n")
    assert [model.name for model in catalogue.models] == ["m"]
    assert [one.name for one in catalogue.left_out] == ["version", "video_models"]


def test_entries_may_share_what_they_have_in_common(tmp_path):
    text = "x: &common\n  family: openai\n  name: shared\ncompletion_models:\n- <<: *common\n  name: m\n"
    (model,) = load(tmp_path, text).models
    assert (model.name, model.provider) == ("m", "openai")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("completion_models: []\nvideo_models:\n- {name: KEY}\n", id="a name in another section"),
        pytest.param("completion_models: []\nKEY: []\n", id="a section"),
        pytest.param("completion_models:\n- {name: a, KEY: 1, KEY: 2}\n", id="a member"),
        pytest.param("completion_models:\n- {name: *KEY}\n", id="an alias"),
        pytest.param("completion_models:\n- {name: KEY}\n", id="a name"),
    ],
)
def test_a_key_in_the_wrong_place_is_not_repeated(tmp_path, text):
    key = "sk-proj-" + "Ab1" * 20
    try:
        told = repr(load(tmp_path, text.replace("KEY", key)).left_out)
    except SettingsError as error:
        told = str(error)
    assert told != "()"
    assert key not in told


def test_an_alias_is_another_name_for_the_model(tmp_path):
    catalogue = load(tmp_path, "- {name: m, litellm_model_name: openai/gpt-x, aliases: [fast, gpt]}\n")
    assert catalogue.model("fast") == replace(catalogue.model("m"), name="fast")
    assert [model.name for model in catalogue.listed] == ["m", "fast", "gpt"]


class TestPatterns:
    TEXT = """
- {name: 'openai/*', litellm_model_name: 'openai/*'}
- {name: 'openai/gpt-*', litellm_model_name: 'berget/gpt-*'}
- {name: 'openai/gpt-4o', litellm_model_name: 'mistral/x'}
"""

    @pytest.mark.parametrize(
        ("name", "provider", "upstream"),
        [
            pytest.param("openai/o3", "openai", "o3", id="any ending"),
            pytest.param("openai/ft:gpt-4o:org::id", "openai", "ft:gpt-4o:org::id", id="a fine-tuned model"),
            pytest.param("openai/gpt-5", "berget", "gpt-5", id="the longest beginning wins"),
            pytest.param("openai/gpt-4o", "mistral", "x", id="a name wins over patterns"),
        ],
    )
    def test_a_pattern_serves_every_model_of_its_beginning(self, tmp_path, name, provider, upstream):
        found = load(tmp_path, self.TEXT).model(name)
        assert (found.name, found.provider, found.upstream_name) == (name, provider, upstream)

    @pytest.mark.parametrize(
        "name", ["openai/", "openai/*", "openai/a b", "openai/\u0430", "openai/?x", "o", "openai/responses/x"]
    )
    def test_what_no_model_is_called_is_not_served(self, tmp_path, name):
        with raises(ErrorCode.UNKNOWN_MODEL):
            load(tmp_path, self.TEXT).model(name)

    def test_a_pattern_is_not_a_model_to_ask_for(self, tmp_path):
        assert [model.name for model in load(tmp_path, self.TEXT).listed] == ["openai/gpt-4o"]
