"""The parts that seal and open what is personal, put together for one ledger in one process."""

from dataclasses import dataclass, replace

from psycopg_pool import ConnectionPool

from domain.credentials.secret import Secret
from domain.events.event import SERVICE, CommandMeta
from keyledger.encryption.personal_keys import PersonalKeys
from keyledger.encryption.personal_members import PersonalReader, PersonalSealer
from keyledger.encryption.secret_keeping import SecretKeeper, SecretKeys
from keyledger.start_error import StartError
from projections.database.connections import BoundedConnection


@dataclass(frozen=True, slots=True)
class People:
    """Seals and opens personal members. secret: the ledger's own, read when it is first needed."""

    secret: SecretKeeper
    keys: PersonalKeys
    sealer: PersonalSealer
    reader: PersonalReader

    def known(self, meta: CommandMeta) -> CommandMeta:
        """Return the author of an event that is to be recorded also without keys: then the service, without a name.

        Raises StoreUnavailableError.
        """
        try:
            self.secret()
        except StartError:
            return replace(meta, actor=SERVICE, role=SERVICE, client_address=None, reason=None)
        return meta

    def fingerprint(self, key: Secret) -> str:
        """Return the fingerprint of an API key, which is the same in every rotation."""
        return self.secret().fingerprint(key)


def people_of(pool: ConnectionPool[BoundedConnection], keys: SecretKeys) -> People:
    """Put the parts together. keys: those that open the ledger's secret."""
    secret = SecretKeeper(pool, keys)
    personal = PersonalKeys(pool, secret)
    return People(secret, personal, PersonalSealer(personal), PersonalReader(personal))
