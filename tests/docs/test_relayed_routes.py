"""docs/api.md names the providers of each relayed route as their rows do."""

import re

from domain.calls.openai_routes import ROUTES
from domain.credentials.built_in_providers import BUILT_IN
from tests.support.places import REPOSITORY


def test_the_table_of_relayed_routes_is_that_of_the_rows() -> None:
    text = (REPOSITORY / "docs" / "api.md").read_text(encoding="utf-8")
    section = text.partition("## Relayed routes")[2].partition("\n## ")[0]
    shown = dict(re.findall(r"^\| `([a-z/_]+)` \| ([^|]*) \|$", section, re.MULTILINE))
    groups = dict.fromkeys(route.group for route in ROUTES)
    rows = {name: ", ".join(row.name for row in BUILT_IN.values() if name in row.routes) for name in groups}
    assert shown == rows
