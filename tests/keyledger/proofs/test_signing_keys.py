"""Keys of the audit log: what Go's note package and the standards' examples say, and nothing shown by accident."""

import base64
import traceback
from datetime import UTC, datetime

import pytest

from domain.credentials.secret import Secret
from domain.proofs.errors import ProofError
from domain.proofs.signed_note import Signature, SignedNote, VerifierKey, open_note, parse_note
from keyledger.proofs.signing_keys import (
    LogSigner,
    WitnessSigner,
    cosigned_at,
    generate_signing_key,
    verifier_of,
)
from tests.support.each import each
from tests.support.places import GOLDEN

NOTES = GOLDEN / "transparency"
PETER = Secret("PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")
PETER_VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
ENOCH_VKEY = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop"
TEXT = "log.example\n1\n" + "A" * 43 + "=\n"
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def test_a_note_that_go_signed_opens_with_the_keys_of_its_documentation():
    data = (NOTES / "note_two_signatures.txt").read_bytes()
    _, verified = open_note(data, [verifier_of(PETER_VKEY), verifier_of(ENOCH_VKEY)])
    assert [signature.name for signature in verified] == ["PeterNeumann", "EnochRoot"]


def test_a_signing_key_that_go_wrote_makes_the_signature_that_go_makes():
    public = parse_note((NOTES / "note_two_signatures.txt").read_bytes())
    signer = LogSigner(PETER)
    assert signer.vkey == PETER_VKEY
    assert SignedNote(public.text).signed_by(signer).signatures == public.signatures[:1]


def test_a_new_key_is_read_back_and_signs_what_its_verifier_key_opens():
    signer = LogSigner(generate_signing_key("log.example"))
    assert signer.name == "log.example"
    note = SignedNote(TEXT).signed_by(signer)
    assert open_note(note.render(), [verifier_of(signer.vkey)]) == (note, note.signatures)


def test_two_keys_have_two_names_when_none_is_given():
    one, other = (LogSigner(generate_signing_key()).name for _ in range(2))
    assert one != other
    assert one.startswith("keyledger-")
    assert len(one) == len("keyledger-") + 8


@pytest.mark.parametrize(
    "name", ["", "two words", "a+b", "wide\u2003space", "bell\x07", "line\n", "zero\u200bwidth", "sk-0a1b2c3d4e5f"]
)
def test_a_name_that_cannot_stand_in_a_note_is_refused(name):
    with pytest.raises(ProofError, match="a key name"):
        generate_signing_key(name)


@each(
    "text",
    [
        pytest.param("", id="nothing"),
        pytest.param(PETER_VKEY, id="a verifier key"),
        pytest.param(PETER.reveal().replace("PRIVATE", "PUBLIC"), id="another prefix"),
        pytest.param(PETER.reveal().replace("c74f20a3", "00000000"), id="another hash"),
        pytest.param(PETER.reveal().replace("PeterNeumann", "Peter"), id="another name"),
        pytest.param(PETER.reveal()[:-4], id="cut off"),
        pytest.param(PETER.reveal().replace("+AYEK", "+AoEK"), id="another type"),
        pytest.param(PETER.reveal() + "\n", id="a newline at the end"),
    ],
)
@each("signer", [LogSigner, WitnessSigner])
def test_what_is_no_signing_key_is_refused_and_not_shown(signer, text):
    with pytest.raises(ProofError) as refused:
        signer(Secret(text))
    shown = "".join(traceback.format_exception(refused.value))
    assert "FALVFGyNhPJEMzD1QIDr" not in shown


@pytest.mark.parametrize("signer", [LogSigner(PETER), WitnessSigner(PETER)])
def test_a_signer_shows_its_name_and_key_id_and_nothing_of_the_key(signer):
    assert "PeterNeumann" in repr(signer)
    seed = PETER.reveal().rpartition("+")[2]
    for shown in (repr(signer), str(signer), signer.vkey):
        assert seed[4:20] not in shown


def test_a_cosignature_says_when_it_was_made_and_opens():
    witness = WitnessSigner(generate_signing_key("witness.example"), lambda: NOON)
    note = SignedNote(TEXT).signed_by(witness)
    _, (signature,) = open_note(note.render(), [verifier_of(witness.vkey)])
    assert cosigned_at(signature) == NOON.timestamp()


def test_the_time_of_a_cosignature_cannot_be_changed():
    witness = WitnessSigner(generate_signing_key("witness.example"), lambda: NOON)
    (signature,) = SignedNote(TEXT).signed_by(witness).signatures
    earlier = Signature(signature.name, signature.key_id, bytes(8) + signature.signature[8:])
    with pytest.raises(ProofError, match=r"witness\.example is wrong"):
        open_note(SignedNote(TEXT, (earlier,)).render(), [verifier_of(witness.vkey)])


def test_a_log_and_a_witness_of_the_same_key_are_told_apart():
    log, witness = LogSigner(PETER), WitnessSigner(PETER)
    assert log.key_id != witness.key_id
    with pytest.raises(ProofError, match="no trusted key"):
        open_note(SignedNote(TEXT).signed_by(witness).render(), [verifier_of(log.vkey)])
    with pytest.raises(ProofError, match="no trusted key"):
        open_note(SignedNote(TEXT).signed_by(log).render(), [verifier_of(witness.vkey)])


@pytest.mark.parametrize(
    "signature",
    [
        pytest.param(b"short", id="too short"),
        pytest.param(bytes(71), id="a byte less"),
        pytest.param(b"\xff" * 72, id="a time beyond 63 bits"),
    ],
)
def test_a_cosignature_of_another_form_does_not_verify(signature):
    witness = WitnessSigner(PETER)
    assert not verifier_of(witness.vkey).verify(TEXT.encode(), signature)


def test_the_time_of_a_public_cosignature():
    raw = base64.b64decode(
        "ZGhGuQAAAABm/qTPeyKXD+R2rzyQsxPiP8mXum7qq/iF0u4vanlqJyocWODBt97w9uL+8qT7S5gxEHWWOworDcFiEBYJXORmnFBOBA=="
    )
    assert cosigned_at(Signature("witness", raw[:4], raw[4:])) == 1727964367
    with pytest.raises(ProofError, match="not a cosignature"):
        cosigned_at(parse_note((NOTES / "checkpoint.txt").read_bytes()).signatures[0])


@pytest.mark.parametrize(
    "vkey",
    [
        "TEST+7997405c+AQcC+FTVKf0jlTdHDY3rbevmnKxxPjigCXlVtGe6RIr6",
        "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2",
    ],
)
def test_a_public_verifier_key_of_either_type_is_read(vkey):
    assert vkey.startswith(verifier_of(vkey).name)


def test_a_verifier_key_of_an_unknown_type_is_refused():
    for key in (VerifierKey("log", 2, bytes(32)), VerifierKey("log", 1, bytes(31))):
        with pytest.raises(ProofError, match="not an Ed25519 key"):
            verifier_of(key.render())
