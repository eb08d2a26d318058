"""The cookie of a session among all that a browser sends to this host."""

import pytest
from starlette.datastructures import Headers

from api.front.session_cookies import SESSION, cookie_of

OTHERS = [
    pytest.param("", "the-session", id="alone"),
    pytest.param(f"; other={'x' * 4096}; more={'y' * 4000}", "the-session", id="with those of other services"),
    pytest.param(f"; {SESSION}=another", "", id="sent twice"),
    pytest.param(f"; other={'x' * 16384}", "", id="with more than any browser sends"),
]


@pytest.mark.parametrize(("others", "found"), OTHERS)
def test_the_session_is_found(others: str, found: str) -> None:
    assert cookie_of(Headers({"Cookie": f"{SESSION}=the-session{others}"}), SESSION, secure=False) == found
