"""The prices of models: the operator's own, read strictly, and those that LiteLLM ships."""

import json
import sys
from decimal import Decimal
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from domain.calls.prices import Price
from domain.credentials.built_in_providers import BUILT_IN
from keyledger.settings import litellm_table
from keyledger.settings.errors import SettingsError
from keyledger.settings.litellm_capabilities import capabilities_in
from keyledger.settings.litellm_prices import prices_in
from keyledger.settings.own_prices import OwnPrices
from keyledger.settings.price_table import prices_of, shipped_table
from keyledger.settings.prices_file import load_prices
from keyledger.settings.settings import load
from tests.support.each import each

OWN = """
currency: EUR
prices:
  - provider: vllm
    model: llama-3.3-70b
    input: 0.15
    output: 0.60
    cached: 0.05
    cache_creation: 0.20
    reasoning: 1
    output_max: 8192
  - {provider: vllm, model: "*", input: 0, output: 0}
"""


def own(folder: Path, text: str) -> OwnPrices:
    path = folder / "prices.yml"
    path.write_text(text, encoding="utf-8")
    return load_prices(path, BUILT_IN)


def test_own_prices_are_exact_and_by_the_million(tmp_path: Path) -> None:
    found = own(tmp_path, OWN)
    assert found.currency == "EUR"
    assert found.prices["vllm", "llama-3.3-70b"] == Price(
        Decimal("1.5E-7"), Decimal("6E-7"), Decimal("5E-8"), Decimal("2E-7"), Decimal("0.000001"), 8192
    )
    assert found.prices["vllm", "*"] == Price(Decimal(0), Decimal(0))


ENTRY = "provider: vllm, model: m, input: 1, output: 2"
WRONG = {
    "currency: EUR\nprices: [{provider: vllm, model: m, input: 1}]": "the price of vllm m: output is missing",
    f"currency: EUR\nprices: [{{{ENTRY}, cached: -1}}]": "the price of vllm m: cached must be the price of a million",
    f"currency: EUR\nprices: [{{{ENTRY}, cached: 1e3}}]": "the price of vllm m: cached must be the price of a million",
    f"currency: EUR\nprices: [{{{ENTRY}, cached: .inf}}]": "the price of vllm m: cached must be the price of a million",
    f"currency: EUR\nprices: [{{{ENTRY}, cached: true}}]": "the price of vllm m: cached must be the price of a million",
    f"currency: EUR\nprices: [{{{ENTRY}, cached: [1]}}]": "the price of vllm m: cached must be the price of a million",
    f"currency: EUR\nprices: [{{{ENTRY}, cached: 1234567}}]": "up to 6 digits",
    f"currency: EUR\nprices: [{{{ENTRY}, discount: 1}}]": "the price of vllm m: 'discount' is not known",
    f"currency: EUR\nprices: [{{{ENTRY}}}, {{{ENTRY}}}]": "vllm m has a price twice; remove one of them",
    f"currency: EUR\nprices: [{{{ENTRY}, output_max: 10000001}}]": "output_max must be at most",
    f"currency: euro\nprices: [{{{ENTRY}}}]": "currency must be three capital letters, such as EUR",
    f"prices: [{{{ENTRY}}}]": "currency is missing",
    "currency: EUR\nprices: [{provider: nowhere, model: m, input: 1, output: 2}]": "no such provider; known",
    "currency: EUR\nprices: [{provider: vllm, model: a b, input: 1, output: 2}]": "without spaces",
    "currency: EUR\nprices: [gpt-4o]": "a price must be a mapping",
    "currency: EUR\nmodels: []": "'models' is not known; only currency and prices are",
    "- a list": "must be a mapping with currency and prices",
}


@pytest.mark.parametrize("text", WRONG)
def test_an_error_names_the_entry_and_the_rule(tmp_path: Path, text: str) -> None:
    with pytest.raises(SettingsError) as refused:
        own(tmp_path, text)
    assert any(WRONG[text] in line and "line " in line for line in refused.value.lines), refused.value.lines


def test_a_file_that_is_named_has_to_be_there_and_its_errors_are_those_of_the_setting(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as refused:
        load({"PRICES_FILE": str(tmp_path / "none.yml"), "SUPER_API_KEY": "k" * 40}, None)
    assert [line for line in refused.value.lines if line.startswith("PRICES_FILE")]


def test_prices_in_another_currency_stand_alone_and_in_the_same_one_come_first(tmp_path: Path) -> None:
    path = tmp_path / "prices.yml"
    environ = {"PRICES_FILE": str(path), "SUPER_API_KEY": "k" * 40}
    path.write_text(OWN, encoding="utf-8")
    table = prices_of(load(environ, None))
    assert (table.currency, table.source, table.of("openai", "gpt-4o")) == ("EUR", "PRICES_FILE", None)
    path.write_text(OWN.replace("EUR", "USD"), encoding="utf-8")
    table = prices_of(load(environ, None))
    assert table.currency == "USD"
    assert table.source == f"PRICES_FILE, LiteLLM {metadata.version('litellm')}"
    assert table.of("openai", "gpt-4o") is not None
    assert table.of("vllm", "llama-3.3-70b") is not None


def test_the_file_that_litellm_ships_has_prices_for_most_models_of_the_catalogue_and_litellm_is_not_loaded() -> None:
    loaded = "litellm" in sys.modules
    prices, capabilities, source = shipped_table(BUILT_IN)
    assert source == f"LiteLLM {metadata.version('litellm')}"
    assert prices["openai", "gpt-4o"].output_max == 16384
    assert capabilities["openai", "gpt-4o"].stated() == {
        "input_modalities": ["text", "image", "file"],
        "tools": True,
        "structured_output": True,
        "max_input_tokens": 128000,
        "max_output_tokens": 16384,
    }
    for provider in ("openai", "anthropic", "mistral", "azure", "gemini", "groq", "deepseek", "xai", "openrouter"):
        assert any(name == provider for name, _ in prices), provider
    assert all(type(price.input) is Decimal and type(price.output) is Decimal for price in prices.values())
    assert ("litellm" in sys.modules) == loaded


SOUND = {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6}
ODD: dict[str, tuple[Any, bool]] = {
    "sound": (SOUND, True),
    "a price of images": (SOUND | {"mode": "image_generation"}, False),
    "another provider": (SOUND | {"litellm_provider": "elsewhere"}, False),
    "no price of output": ({**SOUND, "output_cost_per_token": None}, False),
    "an embedding without one": ({**SOUND, "mode": "embedding", "output_cost_per_token": None}, True),
    "negative": (SOUND | {"input_cost_per_token": -1}, False),
    "huge": (SOUND | {"input_cost_per_token": 10**300}, False),
    "true": (SOUND | {"input_cost_per_token": True}, False),
    "a text": (SOUND | {"input_cost_per_token": "1e-6"}, False),
    "not an object": ([], False),
}


@each("name", ODD)
def test_an_entry_that_is_not_well_formed_is_left_out(name: str) -> None:
    entry, known = ODD[name]
    entries = dict(litellm_table.of_providers(json.loads(json.dumps({"m": entry}), parse_float=Decimal), BUILT_IN))
    assert (("openai", "m") in prices_in(entries)) == known


def test_without_a_readable_file_there_are_no_prices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(litellm_table, "_FILES", ("nothing.json",))
    assert litellm_table.litellm_table(BUILT_IN) == ({}, "none")


STATED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "nothing": ({"mode": "image_generation"}, {}),
    "a chat": ({"mode": "chat"}, {"input_modalities": ["text"]}),
    "what it does not do": (
        {"mode": "chat", "supports_function_calling": False, "supports_vision": False},
        {"input_modalities": ["text"], "tools": False},
    ),
    "a list of modalities": (
        {"mode": "audio_transcription", "supported_modalities": ["audio", 7, "smell"]},
        {"input_modalities": ["audio"]},
    ),
    "lengths": (
        {"mode": "chat", "max_input_tokens": 8000.0, "max_output_tokens": "many"},
        {"input_modalities": ["text"], "max_input_tokens": 8000},
    ),
    "values that are not switches": (
        {"mode": "chat", "supports_reasoning": "yes", "supports_audio_input": 1},
        {"input_modalities": ["text"]},
    ),
}


@each("name", STATED)
def test_capabilities_are_those_that_the_table_states(name: str) -> None:
    entry, expected = STATED[name]
    read = json.loads(json.dumps(entry), parse_float=Decimal)
    assert capabilities_in({("openai", "m"): read})["openai", "m"].stated() == expected
