"""Log lines: one format for ours and for libraries, and a second line of defence against secrets.

Promises: a line never contains the message of an exception, which may quote anything; a traceback is reduced to places
and class names. Anything that looks like a key, a token or an authorization header is struck out.
The first line of defence is that no secret is ever passed to a logger.
"""

import json
import logging
import re
import sys
import traceback
from datetime import UTC, datetime
from typing import Literal

import structlog

from domain.text.visible_text import visible

_SECRETS = re.compile(
    r"""
    enc:fernet:v1:[\w=-]+                                  # sealed secrets
    | hmac-sha256:v1:[\w=-]+
    | (?<![\w-]) (?:sk|pk|gsk|xai|key)-[\w-]{8,}           # keys of well-known providers
    | (?<![\w=-]) [\w-]{43}= (?![\w=])                     # Fernet keys
    | (?i: \b(?:bearer|basic) \s+ [^\s'",;]+ )
    | (?i: ["']? \b (?:api[_-]?key|x-api-key|authorization|password)
             ["']? \s* [:=] \s* ["']? (?:bearer\s+|basic\s+)? [^\s'",;}]+ )
    | (?<=://) [^/\s:@]+ : [^/\s@]+ (?=@)                  # user and password in a URL
    """,
    re.VERBOSE,
)
_POSSIBLE = re.compile(r"[:=\s]|(?:sk|pk|xai|key)-")
"""Every secret above contains one of these. Most texts do not, and are searched once instead of once for each kind."""

_JSON = json.JSONEncoder(sort_keys=True)
_NO_MEMBER = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName", "color_message"}
"""Members that every record has, and so are not logged; uvicorn adds the last."""

STRUCK = "[struck out]"
_QUIET = (
    "httpx",
    "httpcore",
    "openai",
    "anthropic",
    "LiteLLM",
    "LiteLLM Proxy",
    "LiteLLM Router",
    "asyncio",
    "aiohttp",
)


def configure(level: str, form: Literal["auto", "json", "text"]) -> None:
    """Send all log lines to stderr. `form` auto: text on a terminal, JSON elsewhere."""
    as_text = form == "text" or (form == "auto" and sys.stderr.isatty())
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(TextFormatter() if as_text else JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.raiseExceptions = False  # else a line that cannot be formatted is printed with its arguments
    for name in _QUIET:  # at DEBUG these print requests with their headers
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))


def strike_out(text: str) -> str:
    """Return `text` with everything that looks like a secret replaced by `STRUCK`."""
    return _SECRETS.sub(STRUCK, text) if _POSSIBLE.search(text) else text


def places(error: BaseException | None) -> str:
    """Return where an exception was raised and its class, without messages and local values."""
    if error is None:
        return ""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
    return " < ".join([type(error).__qualname__, *reversed(lines)])


class JsonFormatter(logging.Formatter):
    """Formats each log record, ours or a library's, as one JSON object.

    By hand, because each request writes a line and the libraries for it take longer than the rest of the bookkeeping.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, with its exception reduced to places."""
        members = {name: _struck(value) for name, value in record.__dict__.items() if name not in _NO_MEMBER}
        members["event"] = strike_out(record.getMessage())
        members["level"] = record.levelname.lower()
        members["logger"] = strike_out(record.name)
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds")
        members["timestamp"] = moment.replace("+00:00", "Z")
        if record.exc_info:
            members["error"] = strike_out(places(record.exc_info[1]))
        return _JSON.encode(members).replace("\x7f", "\\u007f")


class TextFormatter(structlog.stdlib.ProcessorFormatter):
    """Formats each log record as text for people."""

    def __init__(self) -> None:
        super().__init__(
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _strike_members,
                structlog.dev.ConsoleRenderer(colors=False),
            ],
            foreign_pre_chain=[
                structlog.stdlib.add_log_level,
                structlog.stdlib.add_logger_name,
                structlog.stdlib.ExtraAdder(),
                structlog.processors.TimeStamper(fmt="iso", utc=True),
            ],
        )

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, with its exception reduced to places."""
        kept = logging.makeLogRecord(record.__dict__)
        if kept.exc_info:
            kept.__dict__["error"] = places(kept.exc_info[1])
        kept.exc_info, kept.exc_text, kept.stack_info = None, None, None
        return "\n".join(visible(line) for line in super().format(kept).split("\n"))


def _strike_members(_logger: object, _method: str, members: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Strike out in every member before the line is rendered, so that it stays well-formed."""
    return {name: _struck(value) for name, value in members.items() if name != "color_message"}


def _struck(value: object) -> object:
    if isinstance(value, str):
        return strike_out(value)
    return value if value is None or isinstance(value, bool | int | float) else strike_out(repr(value))
