"""The model is replaced in the text of any JSON object, and nothing else changes."""

import json

from hypothesis import given
from hypothesis import strategies as st

from keyledger.llm.relayed.model_member import with_model

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
SPACE = st.sampled_from([None, 0, 1, "\t"])


@given(st.dictionaries(st.text(), VALUES), st.text(), st.text(), st.data(), SPACE, st.booleans())
def test_every_other_member_keeps_its_place_and_its_text(members, old, new, data, indent, ascii_only):
    members.pop("model", None)
    at = data.draw(st.integers(0, len(members)))
    items = list(members.items())
    before = dict([*items[:at], ("model", old), *items[at:]])
    after = before | {"model": new}
    text = json.dumps(before, indent=indent, ensure_ascii=ascii_only).encode()
    changed = with_model(text, new)
    if json.dumps(new) == json.dumps(new, ensure_ascii=False):  # else it may be written in two ways
        assert changed == json.dumps(after, indent=indent, ensure_ascii=ascii_only).encode()
    assert list(json.loads(changed).items()) == list(after.items())
