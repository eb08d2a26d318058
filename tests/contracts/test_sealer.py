"""Sealers: what is sealed opens in its place alone, and under its key alone."""

from dataclasses import dataclass, replace
from uuid import UUID

import pytest

from domain.credentials.secret import SealContext, Sealer, Secret
from domain.errors import CredentialIntegrityError, UnreadableCredentialError
from tests.support.rings import NEW, OLD
from tests.support.scenario import OTHER_TENANT, TENANT, ClearSealer
from tests.support.twins.sealer import VaultSealer

PLACE = SealContext(TENANT, "openai", UUID(int=1), 1, "https://a.example.com", None, None)
SECRET = Secret("sk-one-0123456789")


@dataclass(frozen=True)
class Sealers:
    """One that seals, and one without its key."""

    sealer: Sealer
    keyless: Sealer


SEALERS = {
    "Fernet": lambda: Sealers(OLD, NEW),
    "in clear": lambda: Sealers(ClearSealer(), ClearSealer("k0000000002", [])),
    "in a vault": lambda: Sealers(VaultSealer(), VaultSealer()),
}


@pytest.fixture(params=SEALERS.values(), ids=list(SEALERS))
def sealers(request: pytest.FixtureRequest) -> Sealers:
    made: Sealers = request.param()
    return made


def test_a_sealed_secret_opens_in_its_place_and_names_its_key(sealers: Sealers) -> None:
    sealed = sealers.sealer.seal(SECRET, PLACE)
    assert sealed.key_id == sealers.sealer.primary_id
    assert sealers.sealer.open(sealed, PLACE) == SECRET
    sealers.sealer.check(sealed, PLACE)


OTHER_PLACES = [
    pytest.param({"tenant_id": OTHER_TENANT}, id="another tenant"),
    pytest.param({"provider": "mistral"}, id="another provider"),
    pytest.param({"stream_id": UUID(int=2)}, id="another stream"),
    pytest.param({"version": 2}, id="another version"),
    pytest.param({"endpoint": "https://b.example.com"}, id="another endpoint"),
    pytest.param({"api_version": "2026-01-01"}, id="another API version"),
    pytest.param({"deployment_name": "other"}, id="another deployment"),
]


@pytest.mark.parametrize("other", OTHER_PLACES)
def test_it_does_not_open_for(sealers: Sealers, other: dict) -> None:
    sealed = sealers.sealer.seal(SECRET, PLACE)
    for use in (sealers.sealer.open, sealers.sealer.check):
        with pytest.raises(CredentialIntegrityError):
            use(sealed, replace(PLACE, **other))


def test_without_its_key_it_is_unreadable(sealers: Sealers) -> None:
    sealed = sealers.sealer.seal(SECRET, PLACE)
    for use in (sealers.keyless.open, sealers.keyless.check):
        with pytest.raises(UnreadableCredentialError):
            use(sealed, PLACE)


def test_equal_secrets_have_equal_fingerprints(sealers: Sealers) -> None:
    assert sealers.sealer.fingerprint(Secret("sk-one-0123456789")) == sealers.sealer.fingerprint(SECRET)
