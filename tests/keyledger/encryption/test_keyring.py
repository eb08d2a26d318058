"""Sealing: readable with ENCRYPTION_KEY alone, and only in its place."""

import base64
import hmac
import struct
from dataclasses import fields, replace

import pytest
from cryptography.fernet import Fernet
from hypothesis import given
from hypothesis import strategies as st

from domain.credentials.credential import stream_id
from domain.credentials.secret import SealContext, SealedSecret, Secret
from domain.errors import CredentialIntegrityError, UnreadableCredentialError
from keyledger.encryption.keyring import BINDING_PREFIX, TOKEN_PREFIX, EncryptionKey, Keyring, generate_encryption_key
from tests.support.scenario import OTHER_TENANT, TENANT
from tests.support.store import ENCRYPTION_KEY, OTHER_ENCRYPTION_KEY

RING = Keyring(ENCRYPTION_KEY)
PLACE = SealContext(
    TENANT, "azure", stream_id(TENANT, "azure"), 3, "https://res.openai.azure.com", "2024-10-21", "gpt-4o"
)
SECRET = Secret("sk-live-0123456789xyz9")


def test_the_token_opens_with_the_encryption_key_alone() -> None:
    token = RING.seal(SECRET, PLACE).token
    assert token.startswith("enc:fernet:v1:")
    plaintext = Fernet(ENCRYPTION_KEY.reveal()).decrypt(token.removeprefix("enc:fernet:v1:").encode())
    assert plaintext.decode() == SECRET.reveal()


def test_key_ids_and_bindings_are_the_same_for_ever() -> None:
    key = EncryptionKey(ENCRYPTION_KEY)
    assert key.key_id == "ka28f2da9e5"
    assert key.bind("enc:fernet:v1:token", PLACE) == "hmac-sha256:v1:QmCI5Sdzy7qCzqqA_4u6jr0EMgEtctRfKbF_MLlHamo="


def test_key_id_and_binding_are_made_as_documented() -> None:
    """The construction written out again with the standard library alone: HKDF (RFC 5869) and HMAC (RFC 2104)."""

    def hkdf(purpose: str, length: int) -> bytes:
        extracted = hmac.digest(bytes(32), base64.urlsafe_b64decode(ENCRYPTION_KEY.reveal()), "sha256")
        return hmac.digest(extracted, f"keyledger/v1/{purpose}".encode() + b"\x01", "sha256")[:length]

    key_id = "k" + hkdf("key-id", 5).hex()
    settings = '{"api_version":"2024-10-21","deployment_name":"gpt-4o","endpoint":"https://res.openai.azure.com"}'
    parts = [TENANT, "azure", str(PLACE.stream_id), "3", settings, key_id, "enc:fernet:v1:token"]
    framed = b"".join(struct.pack(">I", len(part)) + part.encode() for part in parts)
    mac = base64.urlsafe_b64encode(hmac.digest(hkdf("binding", 32), framed, "sha256")).decode()

    assert EncryptionKey(ENCRYPTION_KEY).key_id == key_id
    assert EncryptionKey(ENCRYPTION_KEY).bind("enc:fernet:v1:token", PLACE) == f"hmac-sha256:v1:{mac}"


@given(st.text("".join(map(chr, range(0x21, 0x7F))), min_size=8, max_size=200))
def test_what_is_sealed_opens_to_the_same(key: str) -> None:
    assert RING.open(RING.seal(Secret(key), PLACE), PLACE).reveal() == key


ELSEWHERE = {
    "tenant_id": OTHER_TENANT,
    "provider": "openai",
    "stream_id": stream_id(OTHER_TENANT, "azure"),
    "version": 4,
    "endpoint": "https://evil.example.com",
    "api_version": "2024-10-22",
    "deployment_name": "gpt-4o-mini",
}


@pytest.mark.parametrize("part", [field.name for field in fields(SealContext)])
def test_a_token_does_not_open_where_any_part_of_its_place_differs(part: str) -> None:
    sealed = RING.seal(SECRET, PLACE)
    elsewhere = replace(PLACE, **{part: ELSEWHERE[part]})  # type: ignore[arg-type]
    with pytest.raises(CredentialIntegrityError):
        RING.open(sealed, elsewhere)
    with pytest.raises(CredentialIntegrityError):
        RING.check(sealed, elsewhere)
    RING.check(sealed, PLACE)


def test_parts_of_a_place_cannot_be_shifted_into_each_other() -> None:
    sealed = RING.seal(SECRET, replace(PLACE, tenant_id="ab", provider="c"))
    with pytest.raises(CredentialIntegrityError):
        RING.open(sealed, replace(PLACE, tenant_id="a", provider="bc"))


@given(st.data())
def test_any_changed_character_of_token_or_binding_is_refused(data: st.DataObject) -> None:
    sealed = RING.seal(SECRET, PLACE)
    member = data.draw(st.sampled_from(["token", "binding"]))
    text: str = getattr(sealed, member)
    at = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.characters(codec="ascii").filter(lambda character: character != text[at]))
    changed = replace(sealed, **{member: text[:at] + other + text[at + 1 :]})
    with pytest.raises((CredentialIntegrityError, UnreadableCredentialError)):
        RING.open(changed, PLACE)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"binding": ""}, id="no binding"),
        pytest.param({"binding": "none"}, id="a binding of another kind"),
        pytest.param({"binding": "hmac-sha256:v1:ä"}, id="a binding outside ASCII"),
        pytest.param({"token": ""}, id="no token"),
        pytest.param({"token": "sk-plaintext-key"}, id="a plaintext key"),
    ],
)
def test_a_sealed_secret_without_its_parts_is_refused(change: dict[str, str]) -> None:
    with pytest.raises(CredentialIntegrityError):
        RING.open(replace(RING.seal(SECRET, PLACE), **change), PLACE)


def test_a_bare_token_of_the_right_key_is_refused() -> None:
    bare = Fernet(ENCRYPTION_KEY.reveal()).encrypt(SECRET.reveal().encode()).decode()
    with pytest.raises(CredentialIntegrityError):
        RING.open(SealedSecret(TOKEN_PREFIX + bare, BINDING_PREFIX, RING.primary_id), PLACE)


def test_a_previous_key_opens_and_never_seals() -> None:
    old = RING.seal(SECRET, PLACE)
    ring = Keyring(OTHER_ENCRYPTION_KEY, [ENCRYPTION_KEY])
    assert ring.open(old, PLACE) == SECRET
    assert ring.seal(SECRET, PLACE).key_id == Keyring(OTHER_ENCRYPTION_KEY).primary_id != old.key_id


def test_a_key_that_is_not_in_the_ring_is_named_and_nothing_else_is_tried() -> None:
    with pytest.raises(UnreadableCredentialError) as refused:
        Keyring(OTHER_ENCRYPTION_KEY).open(RING.seal(SECRET, PLACE), PLACE)
    assert refused.value.key_id == RING.primary_id
    assert refused.value.reason == "key-not-in-keyring"


def test_a_stored_key_id_that_is_none_is_not_repeated() -> None:
    with pytest.raises(UnreadableCredentialError, match="malformed"):
        RING.open(replace(RING.seal(SECRET, PLACE), key_id="sk-live-0123456789"), PLACE)


@pytest.mark.parametrize("text", ["", "short", "x" * 44, ENCRYPTION_KEY.reveal()[:-2] + "=="])
def test_a_key_that_is_no_fernet_key_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(ValueError, match="not a Fernet key") as refused:
        Keyring(Secret(text))
    assert not text or text not in str(refused.value)


def test_generated_keys_are_fernet_keys_and_differ() -> None:
    first, second = generate_encryption_key(), generate_encryption_key()
    assert first != second
    assert len(first.reveal()) == 44
    Fernet(first.reveal())


def test_a_ring_shows_key_ids_and_no_keys() -> None:
    assert ENCRYPTION_KEY.reveal() not in repr(RING) + repr(EncryptionKey(ENCRYPTION_KEY))
