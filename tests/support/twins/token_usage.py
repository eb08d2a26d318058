"""The records of tokens in memory."""

from collections.abc import Sequence
from itertools import islice

from domain.audit.token_usage import TokenFilter, TokenPlace, TokenRecord
from domain.errors import StoreUnavailableError


class MemoryTokenUsage:
    """Implements `domain.audit.token_usage.TokenUsage` on a dictionary. down: nothing answers."""

    def __init__(self) -> None:
        self.records: dict[TokenPlace, TokenRecord] = {}
        self.down = False

    def add(self, records: Sequence[TokenRecord]) -> None:
        self._answer()
        for one in records:
            known = self.records.get(one.place)
            self.records[one.place] = one if known is None else known.plus(one)

    def was_added(self, transaction: str) -> bool:
        raise AssertionError(transaction)  # an addition here is never in doubt

    def page(self, wanted: TokenFilter) -> Sequence[TokenRecord]:
        self._answer()
        fitting = (
            place
            for place in sorted(self.records)
            if wanted.tenant_id in {None, place.tenant_id}
            and wanted.provider in {None, place.provider}
            and wanted.version in {None, place.version}
            and wanted.access_key in {None, place.access_key}
            and wanted.model in {None, place.model}
            and (wanted.since is None or place.hour >= wanted.since)
            and (wanted.until is None or place.hour < wanted.until)
            and (wanted.after is None or place > wanted.after)
        )
        return [self.records[place] for place in islice(fitting, wanted.limit)]

    def _answer(self) -> None:
        if self.down:
            raise StoreUnavailableError
