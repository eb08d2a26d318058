"""The catalogue of models is read whole or refused whole."""

from pathlib import Path

import pytest

from domain.errors import UnknownModel
from domain.llm import Adapter, Model, ModelKind
from domain.providers import PROVIDERS
from keyledger.ai_models import CatalogueFault, load_catalogue

SHIPPED = Path(__file__).parents[2] / "ai_models.yml"


def load(folder: Path, text: str):
    path = folder / "models.yml"
    path.write_text(text, encoding="utf-8")
    return load_catalogue(path)


def faults(folder: Path, text: str) -> tuple[str, ...]:
    with pytest.raises(CatalogueFault) as caught:
        load(folder, text)
    assert str(caught.value).startswith("models.yml: ")
    return caught.value.faults


def test_the_shipped_catalogue_has_models_of_every_provider_for_both_adapters():
    models = load_catalogue(SHIPPED).models
    for adapter in Adapter:
        chat = {m.provider for m in models if m.adapter is adapter and m.kind is ModelKind.COMPLETION}
        assert chat == set(PROVIDERS)
    assert {m.provider for m in models if m.kind is ModelKind.EMBEDDING} == set(PROVIDERS) - {"anthropic"}


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
    assert catalogue.models == (Model("m", ModelKind.COMPLETION, *expected),)


def test_a_model_that_is_not_listed_is_unknown_and_the_file_is_named(tmp_path):
    catalogue = load(tmp_path, "completion_models: []\nembedding_models:\n")
    with pytest.raises(UnknownModel, match=r"models\.yml"):
        catalogue.model("m")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("", "line 1: must be a mapping with completion_models and embedding_models", id="an empty file"),
        pytest.param("- a\n", "line 1: must be a mapping with completion_models and embedding_models", id="a list"),
        pytest.param("completion_models: 5\n", "line 1: completion_models must be a list of models", id="a number"),
        pytest.param("models: []\n", "line 1: unknown section", id="an unknown section"),
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
            "completion_models:\n  - name: a\n    litellm_model_name: gpt-4o\n",
            "line 3: litellm_model_name must be provider/name",
            id="no provider",
        ),
        pytest.param(
            "completion_models:\n  - name: a\n    litellm_model_name: bedrock/x\n",
            "line 3: litellm_model_name must be provider/name",
            id="an unknown provider",
        ),
        pytest.param(
            "completion_models:\n  - name: a\n    litellm_model_name: openai/\n",
            "line 3: litellm_model_name must be provider/name",
            id="a provider without a name",
        ),
        pytest.param(
            "completion_models:\n  - name: a\n    family: grok\n",
            "line 3: without litellm_model_name, family must be one of",
            id="an unknown family",
        ),
        pytest.param(
            "completion_models:\n  - name: a\n",
            "line 2: without litellm_model_name, family must be one of",
            id="neither family nor LiteLLM name",
        ),
        pytest.param(
            "completion_models:\n  - name: a\n    family: openai\n    name: b\n",
            "line 4: 'name' is written twice",
            id="a field twice",
        ),
        pytest.param(
            "completion_models:\n  - {name: a, family: openai}\nembedding_models:\n  - {name: a, family: openai}\n",
            "line 4: the name 'a' is taken already, in line 2",
            id="a name twice",
        ),
        pytest.param("completion_models: [\n", "line 2: is not YAML", id="broken YAML"),
        pytest.param(
            "completion_models: !!python/name:os.system\n", "line 1: completion_models must be a list", id="a tag"
        ),
        pytest.param("completion_models:\n  - name: \x01\n", "is not YAML", id="an unprintable character"),
    ],
)
def test_a_fault_is_named_with_its_line(tmp_path, text, expected):
    (fault,) = faults(tmp_path, text)
    assert expected in fault


def test_all_faults_are_named_at_once(tmp_path):
    text = """
completion_models:
  - name: a
    litellm_model_name: gpt
  - family: openai
  - name: a
    family: openai
  - name: a
    family: openai
"""
    found = faults(tmp_path, text)
    assert [fault.split(":")[0] for fault in found] == ["line 4", "line 5", "line 8"]


def test_a_file_that_is_not_there_or_not_text_is_refused(tmp_path):
    with pytest.raises(CatalogueFault, match="cannot be read"):
        load_catalogue(tmp_path / "none.yml")
    (tmp_path / "bytes.yml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CatalogueFault, match="not UTF-8"):
        load_catalogue(tmp_path / "bytes.yml")
