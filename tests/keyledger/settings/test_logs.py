"""Log lines hold no secret, whatever library writes them and however."""

import contextlib
import io
import json
import logging
from collections.abc import Callable, Iterator

import pytest

from keyledger.settings import logs
from tests.support.unseen import HOSTILE, unseen_in

CANARY = "sk-CANARY-0123456789abcdef"


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    root = logging.getLogger()
    handlers, level, raising = root.handlers[:], root.level, logging.raiseExceptions
    yield root
    logging.raiseExceptions = raising
    root.handlers[:] = handlers
    root.setLevel(level)


Said = Callable[[Callable[[], None]], str]


@pytest.fixture(params=["json", "text"])
def said(request: pytest.FixtureRequest, root: logging.Logger) -> Said:
    """The text on stderr while something logs."""

    def run(act: Callable[[], None]) -> str:
        with contextlib.redirect_stderr(io.StringIO()) as stderr:
            logs.configure("debug", request.param)
            act()
        return stderr.getvalue()

    return run


LINES = [
    pytest.param("key %s", (CANARY,), id="a key of a well-known form"),
    pytest.param("api_key=%s", ("opaque0123456789",), id="an opaque key by its name"),
    pytest.param('{"api_key": "%s"}', ("opaque0123456789",), id="an opaque key in JSON"),
    pytest.param("X-API-Key: %s", ("opaque0123456789",), id="an opaque key in a header"),
    pytest.param("Authorization: Bearer %s", ("opaque0123456789",), id="a bearer token"),
    pytest.param("postgresql://user:%s@host/db", ("opaque0123456789",), id="a password in a URL"),
    pytest.param("token enc:fernet:v1:%s", ("gAAAAABopaque0123456789",), id="a sealed secret"),
    pytest.param("%s", ("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",), id="an encryption key"),
]


@pytest.mark.parametrize(("message", "arguments"), LINES)
def test_what_looks_like_a_secret_is_struck_out(said: Said, message: str, arguments: tuple[str, ...]) -> None:
    line = said(lambda: logging.getLogger("anybody").warning(message, *arguments))
    assert arguments[0] not in line
    assert logs.STRUCK in line


def test_no_line_holds_a_character_that_a_terminal_obeys(said: Said) -> None:
    line = said(lambda: logging.getLogger("anyone").warning(f"call {HOSTILE}", extra={"name_of_a_node": HOSTILE}))
    assert "[bold]" in line
    assert unseen_in(line, "\n") == set()


def test_extra_members_are_struck_out_too(said: Said) -> None:
    extra = {"headers": {"authorization": f"Bearer {CANARY}"}}
    assert CANARY not in said(lambda: logging.getLogger("anybody").warning("call", extra=extra))


def _fail_and_log() -> None:
    try:
        try:
            raise ValueError("opaque0123456789")
        except ValueError as error:
            raise RuntimeError("opaque0123456789") from error
    except RuntimeError:
        logging.getLogger("anybody").exception("it went wrong")


def test_an_exception_is_its_places_and_its_class_without_its_message(said: Said) -> None:
    line = said(_fail_and_log)
    assert "opaque0123456789" not in line
    assert "RuntimeError" in line
    assert "test_logs.py" in line


def test_a_stack_is_not_printed(said: Said) -> None:
    line = said(lambda: logging.getLogger("anybody").warning("here", stack_info=True))
    assert "Stack (most recent call last)" not in line


def test_a_line_that_cannot_be_formatted_shows_no_argument(said: Said) -> None:
    line = said(lambda: logging.getLogger("anybody").warning("%d keys", CANARY))
    assert CANARY not in line


@pytest.mark.parametrize("said", ["json"], indirect=True)
def test_json_lines_have_time_level_and_logger(said: Said) -> None:
    line = json.loads(said(lambda: logging.getLogger("keyledger.access").info("served", extra={"status": 200})))
    assert line["event"] == "served"
    assert line["status"] == 200
    assert line["level"] == "info"
    assert line["logger"] == "keyledger.access"
    assert line["timestamp"].endswith("Z")


@pytest.mark.parametrize("name", ["httpx", "openai", "LiteLLM", "aiohttp.client"])
def test_libraries_that_print_requests_stay_quiet_at_debug(said: Said, name: str) -> None:
    assert said(lambda: logging.getLogger(name).debug("headers: opaque")) == ""


def test_plain_words_are_left_alone(said: Said) -> None:
    words = "tenant 11111111-1111-4111-8111-111111111111 key k0123456789 mask ...xyz9"
    line = said(lambda: logging.getLogger("anybody").warning(words))
    assert logs.STRUCK not in line
    assert "k0123456789" in line
