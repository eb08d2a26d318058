"""The model of the random operations, told by hand."""

from tests.prove.model.expectation import Expectation

PLACE = ("tenant", "openai")


def test_the_same_key_again_changes_nothing() -> None:
    expected = Expectation()
    for key in ("one", "one", "two"):
        expected.set(PLACE, key, "k1", "r")
    assert [(one.action, one.key) for one in expected.of(PLACE)] == [("set", "one"), ("replaced", "two")]


def test_after_a_deletion_there_is_no_key_and_the_next_set_is_a_first_one() -> None:
    expected = Expectation()
    expected.set(PLACE, "one", "k1", "r")
    expected.delete(PLACE, "r")
    assert (expected.key(PLACE), expected.version(PLACE)) == ("", 2)
    expected.set(PLACE, "one", "k1", "r")
    assert [one.action for one in expected.of(PLACE)] == ["set", "deleted", "set"]
    assert [expected.live_version_at(PLACE, count) for count in range(4)] == [None, 1, None, 3]


def test_a_rotation_makes_a_version_of_what_is_live_under_another_key() -> None:
    expected, other = Expectation(), ("tenant", "mistral")
    expected.set(PLACE, "one", "k1", "r")
    expected.set(other, "two", "k2", "r")
    expected.rotate("k2")
    assert (expected.version(PLACE), expected.version(other)) == (2, 1)
    assert expected.key(PLACE) == "one"
