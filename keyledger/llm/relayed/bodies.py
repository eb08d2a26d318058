"""The body of a relayed request: it names the model, and is sent with the provider's name of it.

Promises: a body has one reading, so the model that is checked is the model that is called: JSON is read strictly, and a
multipart body as `native.form` reads it. Of a body only the model changes. JSON is held whole, within the limits of
other calls to models; of a multipart body, what precedes its model is held, and the rest is passed on as it arrives.
Refuses: a body without a model, further models, and content encodings.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from typing import Protocol

from api.front.json_body import PARSED_INLINE_MAX, parse_bounded
from domain.calls.native import Body, Headers
from domain.calls.openai_routes import RelayedCall
from domain.errors import InvalidField, InvalidRequestError
from keyledger.llm.answers.bounds import MIB
from keyledger.llm.native.form import CONTENT_TYPE, CheckedForm
from keyledger.llm.native.one_model import require_one_model
from keyledger.llm.relayed.model_member import with_model

HELD_MAX = 8 * MIB
"""Bytes of a multipart body that may precede its model; clients that send a file first fit in."""
_JSON = re.compile(r'application/json *(?:; *charset="?utf-8"?)? *', re.IGNORECASE)


class NamedBody(Protocol):
    """A body whose model is known. model: its name. length: in bytes, if it is known."""

    model: str

    async def named(self, name: str) -> tuple[bytes | Body, int | None]:
        """Return the body with another name of the model, and its length. To be called once."""
        ...


async def read_body(call: RelayedCall) -> NamedBody:
    """Read a body as far as its model. Raises InvalidRequestError, and the errors of reading and parsing it."""
    media_type = _media_type(call.headers)
    form = CONTENT_TYPE.fullmatch(media_type) if call.route.form else None
    if form is not None:
        return await _FormBody.begun(call, form[2])
    if not _JSON.fullmatch(media_type):
        kinds = "application/json in UTF-8" + (" or multipart/form-data" if call.route.form else "")
        raise InvalidRequestError([InvalidField("Content-Type", f"must be {kinds}, without a content encoding")])
    text = call.body if isinstance(call.body, bytes) else await call.body.whole()
    inline = len(text) <= PARSED_INLINE_MAX
    return _JsonBody(text, _model_in(text) if inline else await asyncio.to_thread(_model_in, text))


def _media_type(headers: Headers) -> str:
    """Return the media type of a body, or "" if it is encoded or states several."""
    stated = [value for name, value in headers if name == b"content-type"]
    encodings = {value.strip().lower() for name, value in headers if name == b"content-encoding"}
    return stated[0].decode("latin-1").strip() if len(stated) == 1 and encodings <= {b"", b"identity"} else ""


def _model_in(text: bytes) -> str:
    body = parse_bounded(text)
    if not isinstance(body, dict):
        raise InvalidRequestError([InvalidField("the body", "must be a JSON object")])
    for name in body:
        require_one_model(name)
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise InvalidRequestError(
            [InvalidField("model", "is required: the name of a model; GET .../models lists them")]
        )
    return model


class _JsonBody:
    """A JSON body."""

    def __init__(self, text: bytes, model: str) -> None:
        self._text = text
        self.model = model

    async def named(self, name: str) -> tuple[bytes | Body, int | None]:
        text, self._text = self._text, b""
        if name != self.model:
            inline = len(text) <= PARSED_INLINE_MAX
            text = with_model(text, name) if inline else await asyncio.to_thread(with_model, text, name)
        return text, len(text)


class _FormBody:
    """A multipart body."""

    def __init__(self, form: CheckedForm, call: RelayedCall) -> None:
        self._form = form
        self._short = isinstance(call.body, bytes)
        self._length = call.length
        self.model = form.model

    @classmethod
    async def begun(cls, call: RelayedCall, boundary: str) -> "_FormBody":
        """Return the body, read as far as its model. Raises InvalidRequestError, and what reading raises."""
        pieces = _Counted(call)
        form = CheckedForm(pieces, boundary, require_one_model, lambda model: None, needs_model=True, held=HELD_MAX)
        await form.begin()
        pieces.hold = None
        return cls(form, call)

    async def named(self, name: str) -> tuple[bytes | Body, int | None]:
        longer = self._form.rename(name)
        if self._short:
            whole = await self._form.whole()
            return whole, len(whole)
        return self._form, None if self._length is None else self._length + longer


class _Counted:
    """The pieces of a body. While `hold` is set they are counted, but for the first, which was when it arrived."""

    def __init__(self, call: RelayedCall) -> None:
        self._body = call.body
        self.hold: Callable[[int], None] | None = call.hold

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if isinstance(self._body, bytes):
            yield self._body
            return
        first = True
        async for piece in self._body:
            if self.hold is not None and not first:
                self.hold(len(piece))
            first = False
            yield piece
