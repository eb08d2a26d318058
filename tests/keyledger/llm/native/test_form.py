"""Multipart bodies with the platform's key: one way to write them, the model first, nothing sent before it is known."""

import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.calls.native import NativeAnswer, NativeCall
from domain.errors import ErrorCode, ServiceError
from keyledger.llm.native.form import CheckedForm
from tests.keyledger.llm.native.global_rig import Rig, Sent
from tests.keyledger.llm.rig import KEY, TENANT
from tests.support.each import each
from tests.support.native_provider import NativeProvider, native_provider

B = "----WebKitFormBoundaryAbC123"
TYPE = [(b"content-type", f"multipart/form-data; boundary={B}".encode())]


@pytest.fixture(scope="module")
def provider() -> Iterator[NativeProvider]:
    with native_provider() as running:
        yield running


@pytest.fixture
def rig(provider: NativeProvider) -> Rig:
    return Rig(provider)


def part(name: str, value: bytes, more: str = "", headers: str = "") -> bytes:
    head = f'--{B}\r\nContent-Disposition: form-data; name="{name}"{more}\r\n{headers}\r\n'
    return head.encode() + value + b"\r\n"


def file(name: str = "file", value: bytes = b"RIFF\r\n\x00\xff--\n") -> bytes:
    return part(name, value, '; filename="a [1].wav"', "Content-Type: audio/wav\r\n")


MODEL = part("model", b"whisper-1")
END = f"--{B}--\r\n".encode()
GOOD = MODEL + part("timestamp_granularities[]", b"word") + file() + END


def upload(body: bytes | Sent, path: str = "v1/audio/transcriptions", provider: str = "openai") -> NativeCall:
    length = None if isinstance(body, Sent) else len(body)
    return NativeCall(TENANT, provider, "POST", path, headers=TYPE, body=body, length=length)


PASSES = {
    "the model first": GOOD,
    "a field before the model": part("language", b"sv") + MODEL + file() + END,
    "no CRLF at the end": GOOD[:-2],
    "headers of other clients": part(
        "model", b"whisper-1", headers="Content-Type: text/plain; charset=UTF-8\r\nContent-Transfer-Encoding: 8bit\r\n"
    )
    + part("file", b"abc", '; filename="\u00e5.wav"', "Content-Length: 3\r\nContent-Type: audio/wav\r\n")
    + END,
    "lower case and no space": GOOD.replace(
        b"Content-Disposition: form-data; name", b"content-disposition:form-data;name"
    ),
    "an empty file": MODEL + file(value=b"") + END,
}


@pytest.mark.parametrize("named", PASSES)
@pytest.mark.parametrize("size", [None, 1, 64])
def test_a_plain_form_goes_on_as_it_is(rig: Rig, named: str, size: int | None) -> None:
    body = PASSES[named]
    given = body if size is None else Sent([body[start : start + size] for start in range(0, len(body), size)])
    heard = rig.sent(replace(upload(given), length=len(body)))
    assert heard.body == body
    assert heard.headers["content-length"] == str(len(body))
    assert heard.headers["content-type"] == f"multipart/form-data; boundary={B}"
    assert heard.headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("path", ["v1/images/edits", "v1/images/variations", "v1/audio/translations"])
def test_each_route_has_its_own_fields(rig: Rig, path: str) -> None:
    name, model = ("image[]", b"gpt-image-1") if "images" in path else ("file", b"whisper-1")
    rig.sent(upload(part("model", model) + file(name) + END, path))
    assert rig.refused(upload(part("model", model) + file("other") + END, path)).code == "global-key-not-allowed"


def test_azure_s_deployment_needs_no_model(rig: Rig) -> None:
    rig.sent(upload(file() + END, "openai/deployments/any/audio/transcriptions", "azure"))
    rig.refused(upload(file() + END, "openai/v1/audio/transcriptions"))


SMALL = b"x" * 100
REFUSED = {
    "no model": file() + END,
    "no part": END,
    "nothing": b"",
    "another model": part("model", b"o1") + file() + END,
    "a model with spaces": part("model", b" whisper-1 ") + file() + END,
    "a model with a line more": part("model", b"whisper-1\r\n") + file() + END,
    "a long model": part("model", b"w" * 300) + file() + END,
    "the model after the file": file() + MODEL + END,
    "the model as a file": part("model", b"whisper-1", '; filename="m"') + file() + END,
    "the model in brackets": part("model[]", b"whisper-1") + MODEL + file() + END,
    "the model in capitals": part("Model", b"o1") + MODEL + file() + END,
    "the model too late": part("prompt", b"x" * 70_000) + MODEL + file() + END,
    "a charset for all fields": part("_charset_", b"utf-7") + MODEL + file() + END,
    "a charset of the model": part("model", b"whisper-1", headers="Content-Type: text/plain; charset=utf-16\r\n") + END,
    "a model as JSON": part("model", b"whisper-1", headers="Content-Type: application/json\r\n") + file() + END,
    "a name twice": part("language", b"x", '; name="model"') + MODEL + file() + END,
    "a name in another form": part("language", b"x", "; name*=UTF-8''model") + MODEL + file() + END,
    "a name with an escape": part('lan\\"guage', b"x") + MODEL + file() + END,
    "a name with a percent sign": part("%6dodel", b"o1") + MODEL + file() + END,
    "a name without quotes": GOOD.replace(b'name="model"', b"name=model"),
    "a name in single quotes": GOOD.replace(b'name="model"', b"name='model'"),
    "an attachment": GOOD.replace(b"form-data; name=", b"attachment; name="),
    "two dispositions": part("language", b"x", headers='Content-Disposition: form-data; name="model"\r\n')
    + MODEL
    + END,
    "no disposition": f"--{B}\r\nContent-Type: text/plain\r\n\r\nx\r\n".encode() + GOOD,
    "a folded header": part("language", b"x", ';\r\n name="model"') + MODEL + file() + END,
    "base64": part("model", b"d2hpc3Blci0x", headers="Content-Transfer-Encoding: base64\r\n") + file() + END,
    "a length that is not the part's": part("language", b"sv", headers="Content-Length: 9\r\n") + MODEL + file() + END,
    "an unknown header": part("language", b"sv", headers="X-Name: model\r\n") + MODEL + file() + END,
    "a header with a bare CR": part("language", b"sv", headers="Content-Type: text/plain\rx\r\n") + MODEL + END,
    "many headers": part("language", b"sv", headers="Content-Type: text/plain\r\n" * 300) + MODEL + END,
    "LF only": GOOD.replace(b"\r\n", b"\n"),
    "LF before the boundary": part("language", b"sv")[:-2] + b"\n" + MODEL + file() + END,
    "LF after the boundary": GOOD.replace(f"--{B}\r\n".encode(), f"--{B}\n".encode()),
    "white space after the boundary": GOOD.replace(f"--{B}\r\n".encode(), f"--{B} \r\n".encode()),
    "a preamble": b"x\r\n" + GOOD,
    "an empty line first": b"\r\n" + GOOD,
    "two hyphens fewer": GOOD[2:],
    "a field without an end of line": part("language", b"x")[:-2] + MODEL + file() + END,
    "a longer boundary": GOOD.replace(f"--{B}\r\n".encode(), f"--{B}x\r\n".encode(), 1),
}


@pytest.mark.parametrize("named", REFUSED)
def test_a_form_that_two_servers_could_read_differently_is_refused(rig: Rig, named: str) -> None:
    body = REFUSED[named]
    in_pieces = [Sent([body[start : start + size] for start in range(0, len(body), size)]) for size in (9, 65_536)]
    calls = [upload(body), *(replace(upload(given), length=len(body)) for given in in_pieces)]
    assert isinstance(rig.refused(*calls), ServiceError)


def test_no_more_than_the_beginning_is_read_for_a_model_that_does_not_come(rig: Rig) -> None:
    body = Sent([part("prompt", b"")[:-2], *[b"x" * 1000] * 1000])
    rig.refused(upload(body))
    assert body.taken < 70


LATER = {
    "a form within a file": part(
        "file",
        b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\ngpt-4o\r\n--x--',
        '; filename="a"',
        "Content-Type: multipart/mixed; boundary=x\r\n",
    ).join([MODEL, END]),
    "a semicolon in a filename": MODEL + part("file", b"x", '; filename="a; name=model"') + END,
    "a filename in another form": MODEL + part("file", b"x", "; filename*=UTF-8''a.wav") + END,
    "a second model": MODEL + file() + part("model", b"o1") + END,
    "the same model again": MODEL + file() + MODEL + END,
    "a field that is not known": MODEL + file() + part("file_id", b"file-1") + END,
    "the boundary in a file": MODEL + file(value=b"x\n--" + B.encode() + b"\ny") + END,
    "something after the end": GOOD + part("model", b"o1"),
    "a second end": GOOD + END,
    "an empty line after the end": GOOD + b"\r\n",
    "no end": GOOD[: -len(END)],
    "half an end": GOOD[:-3],
}


@each("named", LATER)
@each("chunked", [False, True], ids=["with its length", "in chunks"])
def test_a_form_that_breaks_a_rule_later_never_arrives_whole(named: str, chunked: bool) -> None:
    body, arrived = LATER[named], []

    async def read(request: web.Request) -> web.StreamResponse:
        arrived.append(await request.read())
        return web.json_response({})

    # A server of its own: it may take note of a request only after the client has broken it off.
    with native_provider() as provider:
        provider.answer, provider.read = read, False
        pieces = Sent([body[start : start + 50] for start in range(0, len(body), 50)])
        outcome = Rig(provider).one(replace(upload(pieces), length=None if chunked else len(body)))
        assert isinstance(outcome, ServiceError), outcome
        assert outcome.code in {ErrorCode.INVALID_REQUEST, ErrorCode.GLOBAL_KEY_NOT_ALLOWED}
    assert arrived == []


async def _hello(request: web.Request) -> web.StreamResponse:
    return web.json_response({"hello": "world"})


@pytest.mark.parametrize(
    "stated",
    [
        f"multipart/form-data; boundary={B}; boundary=x",
        f"multipart/form-data; boundary=x; boundary={B}",
        f"multipart/form-data; boundary={B}; charset=utf-16",
        f"multipart/form-data; charset=utf-16; boundary={B}",
        f"multipart/form-data; boundary*=UTF-8''{B}",
        f'multipart/form-data; boundary="{B}',
        f"multipart/form-data; boundary={B} ;",
        f"multipart/mixed; boundary={B}",
        "multipart/form-data",
        f"multipart/form-data; boundary={B}, application/json",
        f"multipart/form-data; boundary={'x' * 71}",
        "multipart/form-data; boundary=a b",
    ],
)
def test_a_boundary_that_two_servers_could_read_differently_is_refused(rig: Rig, stated: str) -> None:
    alone = [(b"content-type", stated.encode())]
    rig.refused(replace(upload(GOOD), headers=alone), replace(upload(GOOD), headers=[*alone, *TYPE]))


def test_json_is_taken_on_the_same_routes(rig: Rig) -> None:
    body = json.dumps({"model": "gpt-image-1", "prompt": "a", "images": [{"image_url": "data:,"}]}).encode()
    rig.sent(replace(upload(body, "v1/images/edits"), headers=[(b"content-type", b"application/json")]))


FRAGMENTS = st.lists(
    st.sampled_from(
        [
            *(MODEL, file(), END, part("model", b"o1"), part("prompt", b"x"), b"\r\n", b"\n", b"\r", b"--", B.encode()),
            *(f"--{B}".encode(), b'Content-Disposition: form-data; name="model"', b"o1", b"\x00", b"x", b"; "),
        ]
    ),
    max_size=8,
).map(b"".join)


def checked(body: bytes, size: int) -> bytes | None:
    """Return what is passed on, None if the body is refused."""
    models: list[str] = []

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(body), size):
            yield body[start : start + size]

    async def read() -> bytes:
        form = CheckedForm(pieces(), B, lambda name: None, models.append, needs_model=True)
        await form.begin()
        return await form.whole()

    try:
        read().send(None)  # it waits for nothing, so it needs no event loop
    except StopIteration as ended:
        assert len(models) == 1
        return bytes(ended.value)
    except ServiceError:
        return None
    raise AssertionError("it waited")


@settings(max_examples=300, deadline=None)
@given(FRAGMENTS, st.integers(1, 40))
def test_what_passes_is_unchanged_and_its_boundary_is_only_where_parts_end(fragments: bytes, size: int) -> None:
    for body in (fragments, MODEL + fragments, MODEL + fragments + END):
        passed = checked(body, size)
        assert passed == checked(body, 10_000)
        if passed is not None:
            assert passed == body
            first, *rest = body.split(f"--{B}".encode())
            assert first == b""
            assert rest[-1] in {b"--", b"--\r\n"}
            assert all(one.startswith(b'\r\nContent-Disposition: form-data; name="') for one in rest[:-1])
            assert all(one.endswith(b"\r\n") for one in rest[:-1])


def test_an_answer_that_comes_early_is_passed_on(provider: NativeProvider) -> None:
    async def at_once(request: web.Request) -> web.StreamResponse:
        return web.json_response({"error": "too long"}, status=413)

    provider.answer, provider.read = at_once, False
    try:
        outcome = Rig(provider).one(upload(Sent([GOOD])))
    finally:
        provider.answer, provider.read = _hello, True
    assert isinstance(outcome, NativeAnswer)
    assert outcome.status == 413
