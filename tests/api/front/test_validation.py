"""A value that does not fit is answered with the rule of its parameter, never with that the name is unknown."""

import json

from api.front.validation import RULES
from tests.support.places import REPOSITORY


def test_every_query_parameter_has_a_rule_to_answer_with() -> None:
    document = json.loads((REPOSITORY / "tests/golden/openapi.json").read_text(encoding="utf-8"))
    operations = [one for path in document["paths"].values() for one in path.values() if isinstance(one, dict)]
    named = {each["name"] for one in operations for each in one.get("parameters", ()) if each["in"] == "query"}
    assert len(named) > 20
    checked = {
        each["name"]
        for one in operations
        for each in one.get("parameters", ())
        if each["in"] == "query" and each["schema"] != {"type": "string"}
    }
    assert checked - set(RULES) == set()
