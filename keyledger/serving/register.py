"""The register of connections that an application has left for its server."""

from typing import Any

from api.front.bounds.chosen import Bounds
from api.front.bounds.connections import CONNECTIONS, Connections
from api.front.proxies import NO_PROXIES


def register_in(state: dict[str, Any]) -> Connections:
    """Return the register of the application, or a new one for an application without."""
    known = state.get(CONNECTIONS)
    if known is None:
        known = state[CONNECTIONS] = Connections(Bounds, lambda: NO_PROXIES, lambda bound: None)
    register: Connections = known
    return register
