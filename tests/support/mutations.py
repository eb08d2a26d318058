"""Small changes of bytes, such as a stored event or a record may suffer, or an attacker may try."""

from hypothesis import strategies as st

_PIECES = (
    *(b"", b" ", b"\n", b"\x00", b"\x01", b"\x7f", b"\xff", b"\xed\xa0\x80", b"\\", b"\\u0041", b"\\ud800", b'"', b"'"),
    *(
        b",",
        b":",
        b"{",
        b"}",
        b"[",
        b"null",
        b"true",
        b"0",
        b"-0",
        b"1.0",
        b"1e2",
        b"1e999",
        b"NaN",
        b"T",
        b"Z",
        b"+00:00",
    ),
    *(b'""', b"\xef\xbb\xbf", b"\xc3\xa9", b"\xe2\x80\xa8", b'"a":1,', b"personal:v1:"),
)


@st.composite
def mutated(draw: st.DrawFn, originals: st.SearchStrategy[bytes]) -> bytes:
    """Return one of `originals` with up to three pieces replaced, put in, taken away, doubled or moved."""
    data = draw(originals)
    for _ in range(draw(st.integers(0, 3))):
        first, last = sorted((draw(st.integers(0, len(data))), draw(st.integers(0, len(data)))))
        last = draw(st.sampled_from([first, min(first + 1, len(data)), last]))
        piece = draw(st.sampled_from([*_PIECES, data[first:last], data[first:last] * 2]) | st.binary(max_size=3))
        data = data[:first] + piece + data[last:]
    return data
