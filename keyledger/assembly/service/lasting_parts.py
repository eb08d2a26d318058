"""Opens what outlives every configuration of a service: connections, the log, and what remembers.

Promises: opening connects to nothing but the database, and starts no task.
"""

from api.front.bounds.key_limits import KeyLimits
from api.front.bounds.node_counts import Counts
from api.front.callers import Callers
from domain.access.admission import KeyReader
from domain.credentials.newest_seen import NewestSeen
from domain.event_codec import event_of
from domain.events.event import utc_now
from domain.tenants.stored import TenantReader
from keyledger.assembly.people import people_of
from keyledger.assembly.service.lasting import Lasting
from keyledger.assembly.service.sign_in import session_log
from keyledger.encryption.nodes import Presence
from keyledger.encryption.secret_keeping import SecretKeys
from keyledger.identity.issuer_keys import KeysOfIssuers
from keyledger.log.event_store import CredentialLog
from keyledger.log.node_lease import NodeLease
from keyledger.usage.budget_keeper import BudgetKeeper
from keyledger.usage.key_meter import KeyMeter
from projections.access_keys import PostgresTokens
from projections.audit import audit_trail
from projections.database.pipelines import Pipelines
from projections.database.pools import open_pool
from projections.usage.access_key_budgets import PostgresBudgetBlocks
from projections.usage.access_key_usage import PostgresKeyUsage


def open_lasting(dsn: str, keys: SecretKeys, counts: Counts | None = None) -> Lasting:
    """Open the connections of a service, and make what every configuration is served with.

    keys: those that open the ledger's own secret. counts: of this process and the others of its node.
    """
    lease = NodeLease()
    pool, for_beats = open_pool(dsn, lease.admits), open_pool(dsn, size=1)
    people = people_of(pool, keys)
    log = CredentialLog(pool, people.sealer, may_change=lease.require_for_change)
    presence = Presence(pool, lease, for_beats, log.acknowledged)

    def close() -> None:
        pool.close()
        for_beats.close()

    pipelines, follower = Pipelines(dsn, lease.admits), audit_trail.follower(pool)
    seen = NewestSeen(servers=lease)
    budgets = BudgetKeeper(PostgresBudgetBlocks(pool), utc_now)
    meter = KeyMeter(PostgresKeyUsage(pool), utc_now)
    return Lasting(
        dsn=dsn,
        pool=pool,
        pipelines=pipelines,
        log=log,
        follower=follower,
        presence=presence,
        lease=lease,
        people=people,
        clock=utc_now,
        close=close,
        seen=seen,
        callers=Callers(
            PostgresTokens(pipelines.calls, lease.require).read,
            KeyReader(lambda: log.codes, event_of, utc_now),
            limits=KeyLimits(counts),
            used=meter.used,
            reserve=budgets.reserve,
        ),
        issuer_keys=KeysOfIssuers(),
        sessions=session_log(log, pipelines, lease, people),
        tenants=TenantReader(lambda: log.codes, event_of),
        key_meter=meter,
        budgets=budgets,
    )
