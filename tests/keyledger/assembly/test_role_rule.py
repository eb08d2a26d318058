"""The embedded server has one role, which owns all; every other server is held to the rights that a service needs."""

from pathlib import Path

import pytest

from domain.credentials.secret import Secret
from keyledger import embedded_postgres
from keyledger.assembly.open_ledger import role_rule
from keyledger.settings.settings import DatabaseSettings
from keyledger.store_attestation import RoleRule


def database(url: str | None, data_dir: Path, *, strict: bool = False) -> DatabaseSettings:
    return DatabaseSettings(Secret(url) if url else None, None, data_dir, None, role_strict=strict)


def test_the_embedded_server_is_known_by_its_address_too(tmp_path: Path) -> None:
    with embedded_postgres.start(tmp_path, durable=False) as server:
        assert role_rule(database(None, tmp_path)) is RoleRule.IGNORED
        assert role_rule(database(server.dsn(), tmp_path, strict=True)) is RoleRule.IGNORED
        assert role_rule(database(server.dsn(), tmp_path / "another")) is RoleRule.NAMED


@pytest.mark.parametrize(
    "url", ["postgresql://db.example/keyledger", "postgresql:///keyledger?host=%2Frun%2Fpostgresql"]
)
def test_a_server_of_the_operator_is_not_taken_for_the_embedded_one(url: str, tmp_path: Path) -> None:
    assert role_rule(database(url, tmp_path)) is RoleRule.NAMED
    assert role_rule(database(url, tmp_path, strict=True)) is RoleRule.REFUSED
