"""A usage meter that keeps every call reported to it, for tests of the code that reports them."""

from dataclasses import dataclass, field
from typing import NamedTuple

from domain.audit.token_usage import Spent


class Told(NamedTuple):
    tenant_id: str
    provider: str
    version: int
    failed: bool
    rejected: bool
    request_id: str | None


@dataclass
class ListeningMeter:
    told: list[Told] = field(default_factory=list)
    spent: list[Spent] = field(default_factory=list)

    def used(
        self,
        tenant_id: str,
        provider: str,
        version: int,
        *,
        failed: bool,
        rejected: bool,
        request_id: str | None = None,
        spent: Spent | None = None,
    ) -> None:
        if spent is not None:
            self.spent.append(spent)
        self.told.append(Told(tenant_id, provider, version, failed, rejected, request_id))

    def waits(self) -> bool:
        return False

    def flush(self) -> None:
        """Nothing waits."""
