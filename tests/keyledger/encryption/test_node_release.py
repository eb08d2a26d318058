"""A node's release names the form of events that it reads."""

import pytest

from domain.audit.event_catalogue import EVENT_FORM
from keyledger.encryption.node_release import form_of, own_release

RELEASES = [
    pytest.param("0.1.0", 1, id="from before releases named their form"),
    pytest.param("", 1, id="unknown"),
    pytest.param("0.1.0+form.1", 1, id="the first form"),
    pytest.param("1.0.0+form.12", 12, id="a later form"),
    pytest.param("1.0.0rc1+local.form.3", 3, id="a local build"),
    pytest.param("1.0.0+form.0", 1, id="not a form"),
    pytest.param("1.0.0+form.2x", 1, id="not a number"),
    pytest.param("1.0.0+form.99999999999999999999", 1, id="no form that anyone reads"),
]


@pytest.mark.parametrize(("release", "form"), RELEASES)
def test_the_form_is_read_from_a_release(release: str, form: int) -> None:
    assert form_of(release) == form


@pytest.mark.parametrize("program", ["1.0.0", "1.0.0+local.7"])
def test_this_program_names_its_form(monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    monkeypatch.setattr("keyledger.encryption.node_release.version", lambda name: program)
    assert own_release().startswith(program)
    assert form_of(own_release()) == EVENT_FORM
    assert form_of(own_release(7)) == 7
