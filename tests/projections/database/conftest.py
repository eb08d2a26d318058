"""A database as services reach it: directly, and through a real pooler."""

from collections.abc import Iterator

import pytest

from tests.support.pooler import pooled


@pytest.fixture(params=["direct", pytest.param("pooled", marks=pytest.mark.pooler)])
def address(request: pytest.FixtureRequest, database_url: str) -> Iterator[str]:
    if request.param == "direct":
        yield database_url
        return
    # One server connection for all: whatever a client left in it, the next one would find.
    with pooled(database_url, "pool_mode = transaction", "default_pool_size = 1") as pooler:
        yield pooler.url
