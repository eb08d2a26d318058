"""Checks a multipart body while it is passed on, piece by piece, so that a recording is never held whole.

Promises: every server reads a body that passed in the same way, because only one way of writing it is accepted. The
boundary occurs in complete delimiter lines only, with CRLF; nothing precedes the first or follows the last; each part
has one Content-Disposition with a plain name, and no header that another server could read differently. So the bytes
are passed on unchanged, and their number stays the same. Nothing is passed on before the model is known, and the last
delimiter line only once the whole body was checked, so a body that breaks a rule never arrives complete.
Refuses: a model that comes after what may be held of a body, or twice; where no more than 64 KiB may be held, one that
follows a file; fields that the route does not have.
Standards: RFC 7578 and RFC 2046, section 5.1.
"""

import re
from collections.abc import AsyncIterable, AsyncIterator, Callable
from dataclasses import dataclass

from domain.errors import InvalidField, InvalidRequestError, ServiceError

MODEL_WITHIN = 64 * 1024
"""Bytes of a body within which its model has to come, unless more of it may be held."""
_HEAD_MAX = 4 * 1024
_MODEL_MAX = 256

CONTENT_TYPE = re.compile(r"multipart/form-data *; *boundary=(\"?)([A-Za-z0-9'+_.-]{1,70})\1", re.IGNORECASE)
"""The media type of a body that can be checked. Its second group is the boundary."""
_DISPOSITION = re.compile(
    rb"(?i:content-disposition) *: *form-data *; *name=\"([A-Za-z0-9_.-]{1,128})((?:\[[A-Za-z0-9_.-]*\])*)\""
    rb"( *; *filename=\"[^\";\\\x00-\x1f\x7f]{0,512}\")?"
)
_HEADER = re.compile(rb"([A-Za-z-]{1,40}): *([ -~]{1,512})")
_VALUES = {
    b"content-type": re.compile(rb"(?!(?i:multipart|message)/)[A-Za-z0-9.+-]+/[A-Za-z0-9.+-]+(?: *;[ -~]*)?"),
    b"content-transfer-encoding": re.compile(rb"(?i:binary|8bit|7bit)"),
    b"content-length": re.compile(rb"[0-9]{1,12}"),
}
_TEXT = re.compile(rb"(?i:text/plain(?: *; *charset=\"?utf-8\"?)?)")


class CheckedForm:
    """A body that is checked as it is read. error: the reason why it ended early. model: its model, once known."""

    def __init__(
        self,
        body: AsyncIterable[bytes],
        boundary: str,
        check_field: Callable[[str], None],
        check_model: Callable[[str], None],
        *,
        needs_model: bool,
        held: int = MODEL_WITHIN,
    ) -> None:
        """check_field, check_model: raise a ServiceError. needs_model: the body is what names the model.

        held: bytes that may be held until the model is known.
        """
        self.error: ServiceError | None = None
        self.model = ""
        self._model_at = 0
        self._held = held
        self._body = aiter(body)
        self._delimiter = b"--" + boundary.encode("ascii")
        self._check_field = check_field
        self._check_model = check_model
        self._awaits_model = needs_model
        self._models = 0
        self._model: bytearray | None = None
        self._declared: int | None = None
        self._declared_model = False
        self._size = 0
        self._read: Callable[[], bool] = self._first
        self._seen = 0
        self._waiting = bytearray()
        self._checked = bytearray()

    async def begin(self) -> None:
        """Read up to the model. Raises ServiceError."""
        while self._awaits_model:
            if (piece := await anext(self._body, None)) is None:
                raise _broken("it has no model")
            self._take(piece)

    def rename(self, name: str) -> int:
        """Replace the model, once it is known and before the body is read on. Return by how many bytes the body grows.

        Raises InvalidRequestError.
        """
        old, new = self.model.encode("latin-1"), name.encode()
        if new != old and (self._declared_model or self._delimiter in new):
            raise _broken("its model has a Content-Length, or is part of its boundary")
        self._checked[self._model_at : self._model_at + len(old)] = new
        return len(new) - len(old)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the body. Raises ServiceError, also kept in `error`, because the HTTP client swallows it."""
        try:
            if self._checked:
                yield self._given()
            async for piece in self._body:
                self._take(piece)
                if self._checked:
                    yield self._given()
            if self._read != self._after_last:
                raise _broken("it ends before its last boundary")
        except ServiceError as broken:
            self.error = broken
            raise
        yield bytes(self._waiting)

    async def whole(self) -> bytes:
        """Return the whole body. Raises ServiceError."""
        return b"".join([piece async for piece in self])

    def _given(self) -> bytes:
        given, self._checked = bytes(self._checked), bytearray()
        return given

    def _take(self, piece: bytes) -> None:
        self._waiting += piece
        while self._read():
            pass
        if self._awaits_model and self._seen + len(self._waiting) > self._held:
            raise self._late()

    def _pass(self, count: int) -> None:
        """Move bytes that have been checked to those that may be sent."""
        self._checked += self._waiting[:count]
        del self._waiting[:count]
        self._seen += count

    def _first(self) -> bool:
        """Read the first delimiter line."""
        line = self._delimiter + b"\r\n"
        if not line.startswith(self._waiting[: len(line)]):
            raise _broken("it has to begin with its boundary and a part")
        if len(self._waiting) < len(line):
            return False
        self._read = self._head
        self._pass(len(line))
        return True

    def _head(self) -> bool:
        """Read the headers of a part."""
        end = self._waiting.find(b"\r\n\r\n", 0, _HEAD_MAX)
        if end < 0:
            if len(self._waiting) >= _HEAD_MAX:
                raise _broken("a part has too many headers")
            return False
        self._begin_part(bytes(self._waiting[:end]).split(b"\r\n"))
        self._read = self._data
        self._pass(end + 4)
        return True

    def _data(self) -> bool:
        """Read the data of a part, and the delimiter line that ends it."""
        found = self._waiting.find(self._delimiter)
        if found < 0:
            # What is kept may be the beginning of a delimiter line.
            self._pass_data(len(self._waiting) - len(self._delimiter) - 1)
            return False
        if self._waiting[max(0, found - 2) : found] != b"\r\n":
            raise _broken("its boundary occurs outside a line of its own")
        end = found + len(self._delimiter) + 2
        follows = bytes(self._waiting[end - 2 : end])
        if len(follows) < 2:
            return False
        if follows not in {b"\r\n", b"--"}:
            raise _broken("its boundary has to be followed by CRLF, or by -- at the end")
        self._pass_data(found - 2)
        self._end_part()
        if follows == b"--":
            if self._awaits_model:
                raise _broken("it has no model")
            self._read = self._after_last
            return True
        self._read = self._head
        self._pass(len(self._delimiter) + 4)
        return True

    def _after_last(self) -> bool:
        """Read what follows the last delimiter line, which is passed on last of all: one CRLF at most."""
        rest = self._waiting[len(self._delimiter) + 4 :]
        if not b"\r\n".startswith(rest):
            raise _broken("nothing may follow its last boundary")
        return False

    def _begin_part(self, lines: list[bytes]) -> None:
        part = read_part(lines)
        self._check_field(part.name)
        if part.is_file and self._awaits_model and self._held == MODEL_WITHIN:
            raise self._late()
        if part.name == "model":
            self._models += 1
            if self._models > 1 or not part.is_plain:
                raise _broken("it has more than one model, or one that is not a plain field")
            self._model, self._declared_model = bytearray(), part.length is not None
        self._declared, self._size = part.length, 0

    def _pass_data(self, count: int) -> None:
        if count <= 0:
            return
        if self._model is not None:
            self._model += self._waiting[:count]
            if len(self._model) > _MODEL_MAX:
                raise _broken(f"its model has more than {_MODEL_MAX} bytes")
        self._size += count
        self._pass(count)

    def _end_part(self) -> None:
        if self._declared is not None and self._declared != self._size:
            raise _broken("the Content-Length of a part is not its length")
        if self._model is None:
            return
        if self._awaits_model and self._seen > self._held:
            raise self._late()
        self.model, self._model_at = self._model.decode("latin-1"), len(self._checked) - len(self._model)
        self._check_model(self.model)
        self._model, self._awaits_model = None, False

    def _late(self) -> InvalidRequestError:
        before = ", before any file" if self._held == MODEL_WITHIN else ""
        return _broken(f"its model has to come within the first {self._held // 1024} KiB{before}")


@dataclass(frozen=True, slots=True)
class Part:
    """The headers of a part. name: without brackets. is_plain: a field whose name has none. length: as stated."""

    name: str
    is_file: bool
    is_plain: bool
    length: int | None


def read_part(lines: list[bytes]) -> Part:
    """Return what the header lines of a part say. Raises InvalidRequestError."""
    disposition = _DISPOSITION.fullmatch(lines[0])
    if disposition is None:
        raise _broken('a part has to begin with Content-Disposition: form-data; name="...", in plain letters')
    is_file = disposition[3] is not None
    seen: set[bytes] = set()
    length = None
    for line in lines[1:]:
        header = _HEADER.fullmatch(line)
        name = header[1].lower() if header else b""
        value = _VALUES.get(name)
        if header is None or value is None or name in seen or not (found := value.fullmatch(header[2])):
            raise _broken("a part has a header that it may not have, or one that is not plain, or one twice")
        seen.add(name)
        if name == b"content-type" and not is_file and not _TEXT.fullmatch(header[2]):
            raise _broken("a field has to be text/plain in UTF-8")
        if name == b"content-length":
            length = int(found[0])
    return Part(disposition[1].decode("ascii"), is_file, not is_file and not disposition[2], length)


def _broken(rule: str) -> InvalidRequestError:
    return InvalidRequestError([InvalidField("the body", f"must be a plain multipart/form-data body: {rule}")])
