"""The settings for providers' own APIs: read, shown, and refused with the number of the entry."""

import pytest

from domain.calls.native_rules import NativeRules, OpenedRoute
from domain.calls.route_pattern import RoutePattern
from keyledger.settings.errors import SettingsError
from keyledger.settings.settings import load


def test_by_default_nothing_is_opened() -> None:
    assert load({}, None).native_rules == NativeRules((), account_routes=False)


def test_routes_are_read_in_their_order() -> None:
    loaded = load(
        {"NATIVE_GLOBAL_ROUTES": "openai:GET:v1/models, vllm:*:tokenize", "NATIVE_ACCOUNT_ROUTES": "open"}, None
    )
    routes = (
        OpenedRoute("openai", RoutePattern("GET", ("v1", "models"))),
        OpenedRoute("vllm", RoutePattern("*", ("tokenize",))),
    )
    assert loaded.native_rules == NativeRules(routes, account_routes=True)
    shown = {one.name: one.shown for one in loaded.resolved}
    assert shown["NATIVE_GLOBAL_ROUTES"] == "openai:GET:v1/models, vllm:*:tokenize"
    assert shown["NATIVE_ACCOUNT_ROUTES"] == "open"


@pytest.mark.parametrize(
    ("given", "error"),
    [
        (
            {"NATIVE_GLOBAL_ROUTES": "openai:GET:v1/models,acme:GET:x"},
            "NATIVE_GLOBAL_ROUTES: entry 2 names no provider",
        ),
        ({"NATIVE_GLOBAL_ROUTES": "v1/models"}, "NATIVE_GLOBAL_ROUTES: entry 1 must be provider:METHOD:path"),
        ({"NATIVE_ACCOUNT_ROUTES": "yes"}, "NATIVE_ACCOUNT_ROUTES: must be one of: closed, open"),
    ],
)
def test_an_error_names_the_setting_and_the_entry(given: dict[str, str], error: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(given, None)
    assert [line for line in caught.value.lines if line.startswith(error)]
