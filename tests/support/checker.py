"""Verifies a whole store, after every fault and every long test.

Positions without a gap, versions without a gap in every stream, every event readable and in its own stream, the current
view and the audit trail equal to a replay, one audit entry for each event.
"""

from collections import defaultdict
from uuid import UUID

from projections.catch_up import read_all
from projections.database.connections import connect
from projections.replay.replaying import PROJECTIONS, compare
from tests.support.store import Store


def check(store: Store) -> None:
    versions: dict[UUID, list[int]] = defaultdict(list)
    positions: list[int] = []
    with connect(store.url) as connection:
        for batch in read_all(connection, 0, 1000):
            for appended in batch:
                event = appended.event
                positions.append(appended.position)
                versions[event.originator_id].append(event.originator_version)
    assert positions == list(range(1, len(positions) + 1))
    for stream, found in versions.items():
        assert found == list(range(1, len(found) + 1)), f"versions of stream {stream}"
    for view in PROJECTIONS:
        result = compare(store.url, view)
        assert result.difference_count == 0, (view, result.differences)
    assert len(store.audit(limit=1_000_000)) == len(positions)
