"""Signed notes and checkpoints: what is read renders to the same bytes, and nothing but the standard's form is read."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.proofs.checkpoint import MAX_SIZE, Checkpoint, parse_checkpoint
from domain.proofs.errors import ProofError
from domain.proofs.signed_note import (
    MAX_NOTE_SIZE,
    Signature,
    SignedNote,
    VerifierKey,
    decode_base64,
    open_note,
    parse_note,
    parse_verifier_key,
)
from tests.support.each import each
from tests.support.places import GOLDEN

FOLDER = GOLDEN / "transparency"
NOTES = ["note_two_signatures.txt", "note_poem.txt", "checkpoint.txt", "checkpoint_cosigned.txt"]
VKEYS = [
    "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
    "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop",
    "TEST+7997405c+AQcC+FTVKf0jlTdHDY3rbevmnKxxPjigCXlVtGe6RIr6",
    "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2",
]

TEXTS = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="".join(map(chr, range(32)))) | st.just("\n")
).map(lambda text: f"{text}\n")
NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc", "Z"], exclude_characters="+"), min_size=1).filter(
    lambda name: not any(character.isspace() for character in name)
)
SIGNATURES = st.builds(Signature, NAMES, st.binary(min_size=4, max_size=4), st.binary(min_size=1, max_size=80))
LINES = TEXTS.map(lambda text: text.replace("\n", "")).filter(bool)


@dataclass(frozen=True)
class Repeating:
    """A key whose signature of a text is the text and its name: no mathematics, but it tells keys and texts apart."""

    name: str
    key_id: bytes = b"\x00\x00\x00\x01"

    def sign(self, text: bytes) -> bytes:
        return self.name.encode() + text

    def verify(self, text: bytes, signature: bytes) -> bool:
        return signature == self.sign(text)


ADA, BEN = Repeating("ada"), Repeating("ben")


@pytest.mark.parametrize("name", NOTES)
def test_the_public_note_renders_to_the_same_bytes(name):
    data = (FOLDER / name).read_bytes()
    assert parse_note(data).render() == data


def test_the_text_ends_before_the_last_empty_line():
    note = parse_note((FOLDER / "note_poem.txt").read_bytes())
    assert note.text.endswith("sole:\n\ned è subito sera.\n")
    assert [signature.name for signature in note.signatures] == ["quasimodo.example/salvatore"]
    assert note.signatures[0].key_id.hex() == "367ba04b"


def test_the_public_checkpoint_says_origin_size_and_root():
    note = parse_note((FOLDER / "checkpoint_cosigned.txt").read_bytes())
    checkpoint = parse_checkpoint(note.text)
    assert (checkpoint.origin, checkpoint.size) == ("example.com/behind-the-sofa", 20852163)
    assert checkpoint.text == note.text
    assert [signature.name for signature in note.signatures] == [checkpoint.origin, "witness.example.com/w1"]


@pytest.mark.parametrize("vkey", VKEYS)
def test_a_public_verifier_key_renders_to_the_same_text(vkey):
    key = parse_verifier_key(vkey)
    assert key.render() == vkey
    assert f"{key.name}+{key.key_id.hex()}+" in vkey


@given(TEXTS, st.lists(SIGNATURES, min_size=1, max_size=5))
def test_what_is_rendered_is_read_back(text, signatures):
    note = SignedNote(text, tuple(signatures))
    assert parse_note(note.render()) == note


@given(LINES, st.integers(0, MAX_SIZE), st.binary(min_size=32, max_size=32), st.lists(LINES, max_size=3))
def test_a_checkpoint_that_is_rendered_is_read_back(origin, size, root, extensions):
    checkpoint = Checkpoint(origin, size, root, tuple(extensions))
    assert parse_checkpoint(checkpoint.text) == checkpoint


@given(NAMES, st.integers(0, 255), st.binary(min_size=1, max_size=64))
def test_a_verifier_key_that_is_rendered_is_read_back(name, kind, public):
    key = VerifierKey(name, kind, public)
    assert parse_verifier_key(key.render()) == key


@given(st.sampled_from(NOTES), st.data())
def test_a_changed_note_is_refused_or_renders_to_the_changed_bytes(name, data):
    public = (FOLDER / name).read_bytes()
    at = data.draw(st.integers(0, len(public)))
    changed = public[:at] + data.draw(st.binary(max_size=2)) + public[at + data.draw(st.integers(0, 2)) :]
    try:
        note = parse_note(changed)
    except ProofError:
        return
    assert note.render() == changed


GOOD = "text\n\n— ada AAAAAXg=\n"


def test_the_note_that_the_refused_ones_differ_from_is_read():
    assert parse_note(GOOD.encode()).render() == GOOD.encode()


@each(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(GOOD.encode()[:-1], id="no newline at the end"),
        pytest.param(GOOD.replace("\n\n", "\n").encode(), id="no empty line"),
        pytest.param(b"text\n\n", id="no signature"),
        pytest.param(GOOD.replace("text", "te\xffxt").encode("latin-1", "replace"), id="not UTF-8"),
        pytest.param(GOOD.replace("text", "te\txt").encode(), id="a control character in the text"),
        pytest.param(GOOD.replace("\n", "\r\n").encode(), id="carriage returns"),
        pytest.param(GOOD.replace("— ", "- ").encode(), id="a hyphen"),
        pytest.param(GOOD.replace("— ", "—").encode(), id="no space behind the dash"),
        pytest.param(GOOD.replace(" ada", " ").encode(), id="no name"),
        pytest.param(GOOD.replace("ada", "a+a").encode(), id="a plus sign in the name"),
        pytest.param(GOOD.replace("ada", "a\u2003a").encode(), id="a wide space in the name"),
        pytest.param(GOOD.replace("ada ", "ada  ").encode(), id="two spaces behind the name"),
        pytest.param(GOOD.replace("AAAAAXg=", "").encode(), id="no base64"),
        pytest.param(GOOD.replace("AAAAAXg=", "AAAAAXg").encode(), id="base64 without its padding"),
        pytest.param(GOOD.replace("AAAAAXg=", "AAAAAXh=").encode(), id="base64 with bits behind the end"),
        pytest.param(GOOD.replace("AAAAAXg=", "AAAA_Xg=").encode(), id="the other base64"),
        pytest.param(GOOD.replace("AAAAAXg=", "AAAAAQ==").encode(), id="a key id and no signature"),
        pytest.param(GOOD.encode() + b"- more\n", id="a line that is not a signature"),
        pytest.param(b"x" * MAX_NOTE_SIZE + GOOD.encode(), id="too long"),
        pytest.param(("text\n\n" + "— ada AAAAAXg=\n" * 101).encode(), id="too many signatures"),
    ],
)
def test_a_note_of_another_form_is_refused(data):
    with pytest.raises(ProofError):
        parse_note(data)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("log\n1\n" + "A" * 43 + "=", id="no newline at the end"),
        pytest.param("log\n1\n", id="no root"),
        pytest.param("\n1\n" + "A" * 43 + "=\n", id="no origin"),
        pytest.param("log\n01\n" + "A" * 43 + "=\n", id="a leading zero"),
        pytest.param("log\n-1\n" + "A" * 43 + "=\n", id="less than nothing"),
        pytest.param("log\n+1\n" + "A" * 43 + "=\n", id="a sign"),
        pytest.param("log\n١\n" + "A" * 43 + "=\n", id="digits of another script"),
        pytest.param("log\n1_0\n" + "A" * 43 + "=\n", id="an underscore"),
        pytest.param(f"log\n{MAX_SIZE + 1}\n" + "A" * 43 + "=\n", id="more than 63 bits"),
        pytest.param("log\n1\nAAAA\n", id="a short root"),
        pytest.param("log\n1\n" + "A" * 42 + "B=\n", id="a root with bits behind the end"),
        pytest.param("log\n1\n" + "A" * 43 + "=\n\n", id="an empty extension line"),
    ],
)
def test_a_checkpoint_of_another_form_is_refused(text):
    with pytest.raises(ProofError):
        parse_checkpoint(text)


@pytest.mark.parametrize(
    "vkey",
    [
        pytest.param("PeterNeumann+c74f20a3", id="no key"),
        pytest.param("PeterNeumann+00000000+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", id="another hash"),
        pytest.param("Peter+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", id="another name"),
        pytest.param("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TX", id="another key"),
        pytest.param("rekor.sigstore.dev+12345678+THIS_IS_NOT_BASE64!", id="not base64"),
        pytest.param("", id="nothing"),
        pytest.param("+c74f20a3+AQID", id="no name"),
        pytest.param("\udcff+c74f20a3+AQID", id="not UTF-8"),
    ],
)
def test_a_verifier_key_of_another_form_is_refused(vkey):
    with pytest.raises(ProofError):
        parse_verifier_key(vkey)


def test_a_note_cannot_be_made_of_what_could_not_be_read():
    for text in ("no newline", "con\ttrol\n", "surrogate \ud800\n"):
        with pytest.raises(ProofError):
            SignedNote(text)
    with pytest.raises(ProofError):
        SignedNote("unsigned\n").render()
    with pytest.raises(ProofError):
        SignedNote("x" * MAX_NOTE_SIZE + "\n").signed_by(ADA).render()


def test_a_note_opens_with_the_signatures_of_trusted_keys_alone():
    note = SignedNote("text\n").signed_by(ADA).signed_by(BEN)
    opened, verified = open_note(note.render(), [BEN])
    assert opened == note
    assert [signature.name for signature in verified] == ["ben"]


def test_signing_again_replaces_the_signature_of_the_same_key_and_keeps_others():
    note = SignedNote("text\n").signed_by(ADA).signed_by(BEN).signed_by(ADA)
    assert [signature.name for signature in note.signatures] == ["ben", "ada"]


@pytest.mark.parametrize(
    ("trusted", "message"),
    [
        pytest.param([], "no trusted key", id="no one is trusted"),
        pytest.param([Repeating("eve")], "no trusted key", id="someone else is trusted"),
        pytest.param([Repeating("ada", b"\x00\x00\x00\x02")], "no trusted key", id="another key of the same name"),
    ],
)
def test_a_note_that_no_trusted_key_signed_does_not_open(trusted, message):
    with pytest.raises(ProofError, match=message):
        open_note(SignedNote("text\n").signed_by(ADA).render(), trusted)


def test_one_wrong_signature_of_a_trusted_key_closes_the_note_whoever_else_signed():
    wrong = Signature("ben", BEN.key_id, b"forged")
    note = SignedNote("text\n", (wrong,)).signed_by(ADA)
    with pytest.raises(ProofError, match="ben is wrong"):
        open_note(note.render(), [ADA, BEN])


def test_base64_has_one_spelling():
    assert decode_base64("eHk=") == b"xy"
    for other in ("eHk", "eHl=", "eH k=", "eHk=\n", "è"):
        with pytest.raises(ProofError):
            decode_base64(other)
