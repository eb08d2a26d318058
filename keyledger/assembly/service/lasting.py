"""The parts of a service that keep state and outlive a reload."""

from collections.abc import Callable
from dataclasses import dataclass

from psycopg_pool import ConnectionPool

from api.front.callers import Callers
from domain.credentials.newest_seen import NewestSeen
from domain.events.event import Clock
from domain.tenants.stored import TenantReader
from keyledger.assembly.people import People as Persons
from keyledger.encryption.nodes import Presence
from keyledger.identity.issuer_keys import KeysOfIssuers
from keyledger.identity.people import SessionLog
from keyledger.log.event_store import CredentialLog
from keyledger.log.node_lease import NodeLease
from keyledger.usage.budget_keeper import BudgetKeeper
from keyledger.usage.key_meter import KeyMeter
from projections.catch_up import CatchUp
from projections.database.connections import BoundedConnection
from projections.database.pipelines import Pipelines


@dataclass(frozen=True, slots=True)
class Lasting:
    """The parts that outlive a reload.

    follower: of the audit trail. lease: how long this node may rely on what it reads. seen: what calls have seen of the
    log. callers: those with access keys. issuer_keys: of the issuers that the operator trusts. sessions: of people who
    sign in. tenants: reads the rules for tenants. key_meter: counts the requests of access keys. budgets: of access
    keys. close: closes the blocking connections.
    """

    dsn: str
    pool: ConnectionPool[BoundedConnection]
    pipelines: Pipelines
    log: CredentialLog
    follower: CatchUp
    presence: Presence
    lease: NodeLease
    people: Persons
    clock: Clock
    close: Callable[[], None]
    seen: NewestSeen
    callers: Callers
    tenants: TenantReader
    key_meter: KeyMeter
    budgets: BudgetKeeper
    issuer_keys: KeysOfIssuers
    sessions: SessionLog
