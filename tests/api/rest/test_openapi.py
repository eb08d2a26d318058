"""The OpenAPI document keeps its structure: paths, parameters, schemas, statuses and operation ids."""

import json

from tests.support.interface import without_prose
from tests.support.places import GOLDEN

KEPT = GOLDEN / "openapi.json"


def test_the_structure_of_the_document_changes_only_on_purpose(harness):
    """After a change on purpose, write `json.dumps(structure, indent=1, sort_keys=True)` and a line end to the file."""
    structure = without_prose(harness.client.get("/openapi.json").json())
    assert structure == json.loads(KEPT.read_text(encoding="utf-8"))


def test_prose_is_left_out_and_members_of_the_same_name_are_kept():
    document = {"title": "A", "schemas": {"B": {"description": "C", "properties": {"title": {"type": "string"}}}}}
    assert without_prose(document) == {"schemas": {"B": {"properties": {"title": {"type": "string"}}}}}
