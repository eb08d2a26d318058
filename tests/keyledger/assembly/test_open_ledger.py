"""Each purpose: its demands on the database, and the tables it finds or creates."""

from contextlib import suppress
from pathlib import Path

import pytest
from psycopg.conninfo import make_conninfo

from domain.credentials.secret import Secret
from domain.errors import StoreUnavailableError
from keyledger.assembly.open_ledger import Purpose, open_ledger
from keyledger.settings.settings import DatabaseSettings
from keyledger.start_error import StartError
from projections.database.connections import connect
from projections.database.migration import PRESENT, Edition, edition_of
from tests.support.store import Store

MAKE_TABLES = {Purpose.APPEND, Purpose.VERIFY}
OVERLOOK_MISSING_TABLES = {*MAKE_TABLES, Purpose.BACK_UP, Purpose.RESTORE}
BY_THE_ADMIN_ROLE = {Purpose.READ, Purpose.VERIFY_WITHOUT_KEYS, Purpose.BACK_UP, Purpose.RESTORE}
OVERLOOK_A_LOG_THAT_IS_NOT_PROTECTED = {Purpose.VERIFY, *BY_THE_ADMIN_ROLE}
UNPROTECTED = "ALTER TABLE keyledger_events DISABLE TRIGGER ALL"

of_each_purpose = pytest.mark.parametrize("purpose", Purpose, ids=lambda one: one.name)


def at(url: str, admin_url: str | None = None, data_dir: Path = Path("nowhere")) -> DatabaseSettings:
    return DatabaseSettings(Secret(url), Secret(admin_url) if admin_url else None, data_dir, None)


def opens(database: DatabaseSettings, purpose: Purpose) -> bool:
    try:
        with open_ledger(database, purpose):
            return True
    except StartError:
        return False


@of_each_purpose
def test_an_empty_database_gets_tables_does_without_or_is_refused(purpose: Purpose, empty_database_url: str) -> None:
    assert opens(at(empty_database_url), purpose) == (purpose in OVERLOOK_MISSING_TABLES)
    with connect(empty_database_url) as connection:
        assert edition_of(connection) == (PRESENT if purpose in MAKE_TABLES else Edition(0))


@of_each_purpose
def test_a_log_that_can_be_changed_is_not_appended_to(purpose: Purpose, store: Store) -> None:
    with store.superuser() as connection:
        connection.execute(UNPROTECTED)
    assert opens(at(store.url), purpose) == (purpose in OVERLOOK_A_LOG_THAT_IS_NOT_PROTECTED)


@of_each_purpose
def test_the_address_is_that_of_the_role_for_the_purpose(purpose: Purpose, database_url: str) -> None:
    admin_url = make_conninfo(database_url, application_name="admin")
    with open_ledger(at(database_url, admin_url), purpose) as ledger:
        assert ledger.admin_dsn == admin_url
        assert (ledger.dsn, ledger.setting) == (
            (admin_url, "DATABASE_ADMIN_URL") if purpose in BY_THE_ADMIN_ROLE else (database_url, "DATABASE_URL")
        )


@of_each_purpose
def test_two_addresses_of_different_databases_are_refused(
    purpose: Purpose, database_url: str, empty_database_url: str
) -> None:
    with pytest.raises(StartError, match="DATABASE_ADMIN_URL leads to another database"):
        opened(at(database_url, empty_database_url), purpose)


@of_each_purpose
def test_a_database_that_does_not_answer_is_named_by_its_setting(purpose: Purpose) -> None:
    with pytest.raises(StoreUnavailableError, match="DATABASE_URL"):
        opened(at("host=/nowhere dbname=d"), purpose)


@pytest.mark.parametrize(
    "purpose", [Purpose.READ, Purpose.VERIFY_WITHOUT_KEYS, Purpose.BACK_UP], ids=lambda one: one.name
)
def test_reading_makes_no_embedded_database(purpose: Purpose, tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    with pytest.raises(StartError, match="there is no database in"):
        opened(DatabaseSettings(None, None, data_dir, None), purpose)
    assert not data_dir.exists()


def opened(database: DatabaseSettings, purpose: Purpose) -> None:
    with open_ledger(database, purpose):
        pytest.fail("it opened")


@pytest.mark.parametrize("failure", [None, ZeroDivisionError()], ids=["in order", "after an error"])
def test_a_pool_is_closed_with_its_ledger(failure: Exception | None, database_url: str) -> None:
    pools = []
    with suppress(ZeroDivisionError), open_ledger(at(database_url), Purpose.READ) as ledger:
        pools.append(ledger.open_pool())
        if failure is not None:
            raise failure
    assert [pool.closed for pool in pools] == [True]
