"""The operator's rules for tenants: the reader that calls use, and rows as a correct projection shows them."""

from collections.abc import Callable

from domain.event_codec import event_of
from domain.events.event_code import NO_CODES, EventCodes
from domain.tenants.stored import TenantReader


def tenant_reader(codes: Callable[[], EventCodes] = lambda: NO_CODES) -> TenantReader:
    """The reader of tenants with these codes."""
    return TenantReader(codes, event_of)
