"""MariaDB: its connections, their limits and their errors."""

import time
from typing import Any

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from sparkle_app.model.errors import ConfigurationError
from sparkle_app.plugin_api import Base
from sparkle_app.storage.data_tables import data_table
from sparkle_app.storage.engine import read_transaction
from sparkle_app.storage.errors import is_refused_login, is_row_error, server_message
from sparkle_app.storage.migrations.branches import core_branch
from sparkle_app.storage.migrations.migration import create_tables
from sparkle_app.storage.models import RETENTION, tables_of
from sparkle_app.storage.readings import insert_new
from sparkle_app.storage.trial import try_deleting, try_writing
from tests.integration.conftest import MakeEngine
from tests.support.contract import READINGS, Aggregates, Readings, reading, store
from tests.support.mariadb import PASSWORD, USER, MariadbServer

TABLES = tables_of(Readings, Aggregates)


@pytest.fixture
def engine(make_mariadb: MakeEngine) -> Engine:
    engine = make_mariadb()
    Base.metadata.create_all(engine, tables=TABLES)
    return engine


@pytest.mark.parametrize(("for_command", "seconds"), [(False, 60), (True, 0)])
def test_no_session_waits_without_a_limit(
    make_mariadb: MakeEngine, for_command: bool, seconds: float
) -> None:
    limits = "SELECT @@max_statement_time, @@idle_transaction_timeout, @@innodb_lock_wait_timeout, @@lock_wait_timeout"
    with make_mariadb(for_command=for_command).connect() as connection:
        assert connection.execute(text(limits)).one() == (seconds, 15, 10, 10)
        assert connection.get_isolation_level() == "READ COMMITTED"
        driver: Any = connection.connection.driver_connection
        assert driver.seconds == (None if for_command else 65)


def test_a_trial_reports_missing_privileges(make_mariadb: MakeEngine, mariadb: MariadbServer) -> None:
    engine = make_mariadb()

    def trial() -> list[str] | str | None:
        with engine.connect() as connection, connection.begin() as transaction:
            try:
                return try_writing(connection)
            except DBAPIError as error:
                return server_message(error)
            finally:
                transaction.rollback()

    on = f"ON {engine.url.database}.*"
    assert {table.name for table in TABLES} <= set(trial() or ())
    mariadb.run(f"REVOKE CREATE {on} FROM {USER}@'%'")
    engine.dispose()
    assert str(trial()).startswith(f"CREATE command denied to user '{USER}'@")
    mariadb.run(f"GRANT CREATE {on} TO {USER}@'%'")
    engine.dispose()
    create_tables(engine, [core_branch()])
    assert trial() == []
    mariadb.run(f"REVOKE UPDATE {on} FROM {USER}@'%'")
    engine.dispose()
    assert str(trial()).startswith(f"UPDATE command denied to user '{USER}'@")
    mariadb.run(f"GRANT UPDATE {on} TO {USER}@'%'", f"REVOKE DELETE {on} FROM {USER}@'%'")
    engine.dispose()
    assert trial() == []
    with engine.connect() as connection:
        refused = try_deleting(connection, [RETENTION, data_table(READINGS)])
    assert list(refused) == ["sparkle_retention", data_table(READINGS).name]
    assert all(each.startswith(f"DELETE command denied to user '{USER}'@") for each in refused.values())


@pytest.mark.parametrize(
    ("parts", "refused", "message"),
    [
        ({"password": "wrong"}, True, None),
        ({"username": "nobody"}, True, None),
        ({"database": "elsewhere"}, False, f"Access denied for user '{USER}'@'%' to database 'elsewhere'"),
        ({"username": "admin", "password": PASSWORD, "database": "elsewhere"}, False, "Unknown database 'elsewhere'"),
        ({"port": 1}, False, None),
        ({"host": "host.invalid"}, False, None),
    ],
)  # fmt: skip
def test_an_error_of_a_connection_is_named_and_no_error_of_a_row(
    make_mariadb: MakeEngine, parts: dict[str, Any], refused: bool, message: str | None
) -> None:
    with pytest.raises(DBAPIError) as caught:
        make_mariadb(**parts).connect()
    assert is_refused_login(caught.value) == refused
    assert server_message(caught.value) == message
    assert not is_row_error(caught.value)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (
            {"nonsense": "1"},
            "database.url: expected parameters that the driver PyMySQL has, .*, found nonsense; ",
        ),
        (
            {"ssl_ca": "/no/ca.pem"},
            "database.url: expected the file of ssl_ca to exist, found no /no/ca.pem; ",
        ),
    ],
)
def test_parameters_that_cannot_work_are_an_error_before_the_first_connection(
    make_mariadb: MakeEngine, query: dict[str, str], expected: str
) -> None:
    with pytest.raises(ConfigurationError, match=expected):
        make_mariadb(query=query)


def test_a_session_that_the_server_ends_is_lost(engine: Engine, mariadb: MariadbServer) -> None:
    with engine.connect() as connection:
        number = connection.execute(text("SELECT connection_id()")).scalar()
        mariadb.run(f"KILL {number}")
        with pytest.raises(DBAPIError) as caught:
            insert_new(connection, READINGS, [reading(1)])
    assert caught.value.connection_invalidated
    assert not is_row_error(caught.value)
    assert len(store(engine, [reading(1)])) == 1


def test_a_transaction_that_is_idle_is_ended(engine: Engine) -> None:
    with engine.connect() as connection:
        connection.execute(text("SET idle_transaction_timeout = 1"))
        insert_new(connection, READINGS, [reading(1)])
        time.sleep(2)
        with pytest.raises(DBAPIError) as caught:
            connection.execute(text("SELECT 1"))
    assert not is_row_error(caught.value)
    assert len(store(engine, [reading(1)])) == 1


def test_one_refused_write_replaces_every_connection(engine: Engine, mariadb: MariadbServer) -> None:
    with engine.connect() as one, engine.connect() as other:
        before = {each.execute(text("SELECT connection_id()")).scalar() for each in (one, other)}
    mariadb.run("SET GLOBAL read_only = ON")
    try:
        with pytest.raises(DBAPIError, match="read-only") as caught:
            store(engine, [reading(1)])
    finally:
        mariadb.run("SET GLOBAL read_only = OFF")
    assert not is_row_error(caught.value)
    with engine.connect() as one, engine.connect() as other:
        after = {each.execute(text("SELECT connection_id()")).scalar() for each in (one, other)}
    assert not before & after


def test_a_read_transaction_has_one_snapshot_and_waits_for_no_writer(engine: Engine) -> None:
    count = text("SELECT count(*) FROM contract_readings")
    with read_transaction(engine) as connection, engine.connect() as writer:
        assert connection.execute(count).scalar() == 0
        insert_new(writer, READINGS, [reading(1)])
        writer.commit()
        insert_new(writer, READINGS, [reading(2)])
        assert connection.execute(count).scalar() == 0
        writer.rollback()
    with read_transaction(engine) as connection:
        assert connection.execute(count).scalar() == 1
