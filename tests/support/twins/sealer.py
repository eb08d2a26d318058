"""A sealer whose tokens do not contain the secret."""

from uuid import uuid4

from domain.credentials.secret import SealContext, SealedSecret, Secret
from domain.errors import CredentialIntegrityError, UnreadableCredentialError


class VaultSealer:
    """Seals by putting the secret away: its token is a random name, its binding is the place where it may be used."""

    primary_id = "k0123456789"

    def __init__(self) -> None:
        self._vault: dict[str, Secret] = {}

    def seal(self, secret: Secret, context: SealContext) -> SealedSecret:
        token = f"token-{uuid4()}"
        self._vault[token] = secret
        return SealedSecret(token, repr(context), self.primary_id)

    def open(self, sealed: SealedSecret, context: SealContext) -> Secret:
        if sealed.binding != repr(context):
            raise CredentialIntegrityError("binding")
        if sealed.token not in self._vault:
            raise UnreadableCredentialError(sealed.key_id, "unknown-key")
        return self._vault[sealed.token]

    def check(self, sealed: SealedSecret, context: SealContext) -> None:
        self.open(sealed, context)

    def fingerprint(self, secret: Secret) -> str:
        return "f0123456789abcdef"

    def lose_all(self) -> None:
        """Forget every secret, as if the encryption key were gone."""
        self._vault.clear()
