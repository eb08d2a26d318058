"""The bounds that an operator chose, as one immutable value.

Each process has its own, except for those in a minute: a service of four workers holds up to four times as much. A
share is a percentage of `connections`, so that the shares fit together whatever that number is: a hanging provider
leaves calls to the others, a tenant leaves calls to the other tenants, a key leaves connections to the other keys and
calls to each provider, and all calls together leave connections to administrators and health checks.
"""

from dataclasses import dataclass

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Bounds:
    """Bounds of one process; 0 requests or calls in a minute: not bounded.

    connections: in all. address_connections: without a valid key, from one address or IPv6 network of 64 bits.
    key_share, call_share: of the connections, for those used by one service key and for those used by all calls.
    tenant_share, provider_share: of the connections, for calls under way as one tenant and to one provider.
    key_requests, tenant_calls, provider_calls: in a minute.
    key_body_bytes, body_bytes: in long bodies of calls that are held, for one service key and for all.
    reader_seconds: how long a client may take none of an answer that is waiting for it.
    """

    connections: int = 1000
    address_connections: int = 100
    key_share: int = 80
    call_share: int = 90
    tenant_share: int = 40
    provider_share: int = 60
    key_requests: int = 0
    tenant_calls: int = 0
    provider_calls: int = 0
    key_body_bytes: int = 85 * MIB
    body_bytes: int = 256 * MIB
    reader_seconds: int = 30

    def share(self, percent: int) -> int:
        """Return a share as a number of connections, at least one."""
        return max(1, self.connections * percent // 100)

    @property
    def provider_calls_of_key(self) -> int:
        """How many calls to one provider one service key may have under way: three quarters of the provider's share."""
        return max(1, self.share(self.provider_share) * 3 // 4)


def leaves_room(own: int, most: int, all_of_them: int, limit: int) -> bool:
    """Say whether one that holds `own` places may take another, and still leave some of `limit` to the others.

    most: what it may hold when the others hold nothing. all_of_them: places that are held. What one may hold shrinks
    with what is free, in proportion, so that a few that take all they get never have everything.
    """
    most = min(most, limit)
    return own * (limit - most) < most * (limit - all_of_them)
