"""MariaDB: its tables, limits, errors and connections."""

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Any

import msgspec
import pytest
from sqlalchemy import Column, DateTime, Engine, Float, Index, MetaData, String, Table, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError

from sparkle_app.model.errors import ConfigurationError
from sparkle_app.model.time import moment
from sparkle_app.plugin_api import Base, StringReadingsTable
from sparkle_app.storage.aggregates import upsert_growing
from sparkle_app.storage.data_tables import data_table
from sparkle_app.storage.engine import make_engine, read_transaction
from sparkle_app.storage.errors import is_lock_conflict, is_refused_login, is_row_error, server_message
from sparkle_app.storage.migrations.branches import core_branch
from sparkle_app.storage.migrations.migration import create_tables, migrate
from sparkle_app.storage.models import tables_of
from sparkle_app.storage.readings import insert_new, select_known
from sparkle_app.storage.trial import try_writing
from tests.support.contract import AGGREGATES, READINGS, Aggregates, Readings, aggregate, reading, store
from tests.support.mariadb import PASSWORD, USER, MariadbServer
from tests.support.proxy import Proxy


class Texts(StringReadingsTable):
    __tablename__ = "contract_texts"


TABLES = tables_of(Readings, Aggregates, Texts)


@pytest.fixture
def url(mariadb: MariadbServer) -> URL:
    return make_url(mariadb.create_database(f"test_{uuid.uuid4().hex[:8]}"))


@pytest.fixture
def make(url: URL) -> Iterator[Callable[..., Engine]]:
    """Makes an engine; ``user`` and other parts of the URL, and ``for_command``, may be given."""
    made = []

    def make(*, for_command: bool = False, **parts: Any) -> Engine:
        engine = make_engine(url.set(**parts), for_command=for_command)
        made.append(engine)
        return engine

    yield make
    for engine in made:
        engine.dispose()


@pytest.fixture
def engine(make: Callable[..., Engine]) -> Engine:
    engine = make()
    Base.metadata.create_all(engine, tables=TABLES)
    return engine


@pytest.fixture
def named(engine: Engine) -> Engine:
    """Has the names already: transactions wait for each other's rows only."""
    with engine.begin() as connection:
        insert_new(connection, READINGS, [reading(0)])
        connection.execute(data_table(READINGS).delete())
    return engine


@pytest.fixture(params=["engine", "named"])
def named_or_not(request: pytest.FixtureRequest) -> Engine:
    engine: Engine = request.getfixturevalue(request.param)
    return engine


def test_tables_do_not_depend_on_the_defaults_of_the_server(engine: Engine) -> None:
    plain = Table(
        "written_for_another_database",
        MetaData(),
        Column("name", String, primary_key=True),
        Column("comment", String),
        Column("rack", String, index=True),
        Column("level", Float),
        Column("at", DateTime),
    )
    other = Table("with_options", MetaData(), Column("name", String(10)), mysql_charset="ascii")
    Index("ix_level", plain.c.level)
    plain.create(engine)
    other.create(engine)
    columns = (
        "SELECT table_name, column_name, column_type, collation_name FROM information_schema.columns"
        " WHERE table_schema = database() AND column_name IN"
        " ('id', 'hostname', 'metric', 'observed_at', 'name', 'comment', 'rack', 'level', 'at')"
    )
    at = datetime(2026, 11, 23, 12, 0, 0, 123456, UTC).replace(tzinfo=None)
    row = {"name": "a ", "comment": "long " * 1000, "rack": "r", "level": 0.1 + 0.2, "at": at}
    with engine.begin() as connection:
        found = {
            (table, column): (of, collation)
            for table, column, of, collation in connection.execute(text(columns))
        }
        connection.execute(plain.insert(), [row, row | {"name": "a"}, row | {"name": "A"}])
        (found_row,) = connection.execute(plain.select().where(plain.c.name == "a ")).mappings()
    assert dict(found_row) == row
    exact = "utf8mb4_nopad_bin"
    assert found["contract_readings_data", "id"] == ("binary(16)", None)
    assert found["contract_readings_data", "observed_at"] == ("datetime(6)", None)
    assert found["sparkle_series", "hostname"] == ("varchar(1024)", exact)
    assert found["written_for_another_database", "comment"] == ("text", exact)
    assert found["written_for_another_database", "rack"] == ("varchar(510)", exact)
    assert found["with_options", "name"] == ("varchar(10)", "ascii_general_ci")


def test_the_longest_names_fit_and_longer_ones_are_refused(engine: Engine) -> None:
    # Characters of four bytes.
    longest = [reading(1, hostname="🌡" * 1024, key="🌡" * 255)]
    assert len(store(engine, longest)) == 1
    with engine.begin() as connection:
        upsert_growing(connection, AGGREGATES, [aggregate(1, "🌡" * 1024, "🌡" * 255)])
    with pytest.raises(DBAPIError, match="Data too long") as caught:
        store(engine, [reading(2, hostname="h" * 1025)])
    assert is_row_error(caught.value)


def test_statements_fit_into_the_packets_of_the_server(
    engine: Engine, mariadb: MariadbServer, make: Callable[..., Engine]
) -> None:
    # Half of the characters have to be escaped.
    readings = [
        msgspec.structs.replace(reading(number), value="'x" * 500 + str(number)) for number in range(400)
    ]
    (default,) = mariadb.run("SELECT @@max_allowed_packet")[0]
    mariadb.run(f"SET GLOBAL max_allowed_packet = {64 * 1024}")
    try:
        with make().begin() as connection:
            assert len(insert_new(connection, Texts.__table__, readings)) == len(readings)
            assert len(list(select_known(connection, Texts.__table__, readings))) == len(readings)
    finally:
        mariadb.run(f"SET GLOBAL max_allowed_packet = {default}")


@pytest.mark.parametrize(("for_command", "seconds"), [(False, 60), (True, 0)])
def test_no_session_waits_without_a_limit(
    make: Callable[..., Engine], for_command: bool, seconds: float
) -> None:
    limits = "SELECT @@max_statement_time, @@idle_transaction_timeout, @@innodb_lock_wait_timeout, @@lock_wait_timeout"
    with make(for_command=for_command).connect() as connection:
        assert connection.execute(text(limits)).one() == (seconds, 15, 10, 10)
        assert connection.get_isolation_level() == "READ COMMITTED"
        driver: Any = connection.connection.driver_connection
        assert driver.seconds == (None if for_command else 65)


def test_a_wait_for_a_lock_is_retried_and_no_error_of_a_row(named_or_not: Engine) -> None:
    with named_or_not.connect() as first, named_or_not.connect() as second:
        insert_new(first, READINGS, [reading(1)])
        second.execute(text("SET innodb_lock_wait_timeout = 1"))
        with pytest.raises(DBAPIError, match="Lock wait timeout") as caught:
            insert_new(second, READINGS, [reading(1)])
    assert is_lock_conflict(caught.value)
    assert not is_row_error(caught.value)


def test_a_deadlock_is_retried_and_no_error_of_a_row(named: Engine) -> None:
    errors: list[DBAPIError] = []
    at_once = threading.Barrier(2, timeout=30)

    def insert(*numbers: int) -> None:
        try:
            with named.begin() as connection:
                insert_new(connection, READINGS, [reading(numbers[0])])
                at_once.wait()
                insert_new(connection, READINGS, [reading(numbers[1])])
        except DBAPIError as error:
            errors.append(error)

    threads = [threading.Thread(target=insert, args=numbers) for numbers in ((1, 2), (2, 1))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (error,) = errors
    assert "Deadlock" in str(error)
    assert is_lock_conflict(error)
    assert not is_row_error(error)


def test_an_id_that_another_transaction_inserts_meanwhile_is_known(named_or_not: Engine) -> None:
    found: set[bytes] = set()

    def insert() -> None:
        with named_or_not.begin() as connection:
            # As a worker, which reads the metrics of hosts first.
            connection.execute(text("SELECT count(*) FROM contract_readings"))
            found.update(insert_new(connection, READINGS, [reading(n) for n in range(5)]))

    with named_or_not.connect() as first:
        insert_new(first, READINGS, [reading(1), reading(3)])
        thread = threading.Thread(target=insert)
        thread.start()
        time.sleep(0.5)
        assert not found
        first.commit()
        thread.join()
    assert found == {reading(n).id for n in (0, 2, 4)}


def test_another_key_that_is_not_unique_is_an_error_of_a_row(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("CREATE UNIQUE INDEX one_offset ON contract_readings_data (`offset`)"))
    assert len(store(engine, [reading(1)])) == 1
    with pytest.raises(DBAPIError, match="Duplicate entry") as caught:
        store(engine, [reading(2, offset=reading(1).offset)])
    assert is_row_error(caught.value)


def test_a_trial_reports_missing_privileges(make: Callable[..., Engine], mariadb: MariadbServer) -> None:
    engine = make()

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
    make: Callable[..., Engine], parts: dict[str, Any], refused: bool, message: str | None
) -> None:
    with pytest.raises(DBAPIError) as caught:
        make(**parts).connect()
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
    make: Callable[..., Engine], query: dict[str, str], expected: str
) -> None:
    with pytest.raises(ConfigurationError, match=expected):
        make(query=query)


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


@pytest.fixture
def proxy(mariadb: MariadbServer) -> Iterator[Proxy]:
    proxy = Proxy(f"127.0.0.1:{mariadb.port}")
    yield proxy
    proxy.close()


@pytest.fixture(params=[False, True], ids=["worker", "command"])
def behind(request: pytest.FixtureRequest, proxy: Proxy, make: Callable[..., Engine]) -> Engine:
    """The database behind the proxy, as workers and commands use it."""
    return make(port=proxy.port, for_command=request.param)


def test_a_pooled_connection_that_is_forgotten_is_replaced(
    behind: Engine, proxy: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    with behind.connect() as first, behind.connect() as second:
        for connection in (first, second):
            connection.execute(text("SELECT 1"))
    proxy.forget()
    began = time.monotonic()
    with behind.connect() as first, behind.connect() as second:
        for connection in (first, second):
            connection.execute(text("SELECT 1"))
    # One ping finds it, for all connections of the pool.
    assert time.monotonic() - began < 8
    assert f"the database at {proxy.address} has not answered a ping for 5 s: connecting again" in caplog.text


def test_a_statement_may_take_longer_than_a_ping(behind: Engine) -> None:
    with behind.connect() as connection:
        connection.execute(text("SELECT sleep(6)"))


@pytest.mark.parametrize("commits", [False, True], ids=["statement", "commit"])
def test_a_connection_that_is_forgotten_in_a_transaction_is_lost_after_the_limit(
    behind: Engine, proxy: Proxy, commits: bool
) -> None:
    with behind.connect() as connection:
        connection.execute(text("SELECT 1"))
        driver: Any = connection.connection.driver_connection
        driver.seconds = 1
        proxy.forget()
        call = connection.commit if commits else partial(connection.execute, text("SELECT 1"))
        with pytest.raises(DBAPIError, match=f"{proxy.address} has not answered for 1 s") as raised:
            call()
    assert raised.value.connection_invalidated
    assert not is_row_error(raised.value)


def test_a_migration_that_was_interrupted_can_be_repeated(make: Callable[..., Engine]) -> None:
    engine = make()
    columns = {column.name: column.type for column in READINGS.c}
    wide = Table(
        READINGS.name,
        MetaData(),
        *(Column(name, type_, primary_key=name == "id", nullable=False) for name, type_ in columns.items()),
    )
    wide.create(engine)
    rows = [reading(number, hostname=f"host {number % 3}") for number in range(500)]
    values = [
        {name: getattr(row, "key" if name == "metric" else name) for name in columns}
        | {name: moment(getattr(row, name)) for name in ("observed_at", "received_at")}
        for row in rows
    ]
    with engine.begin() as connection:
        connection.execute(wide.insert(), values)
        # DDL is committed at once: an attempt that ended there has left this table.
        connection.execute(text("CREATE TABLE contract_readings_data (id BINARY(16) PRIMARY KEY)"))
    migrate(engine, [core_branch()], [], lambda _: None)
    with read_transaction(engine) as connection:
        found = {each.id: each for each in select_known(connection, READINGS, rows)}
        shown = connection.execute(text("SELECT count(*) FROM contract_readings")).scalar()
    assert found == {row.id: row.as_stored() for row in rows}
    assert shown == len(rows)
    create_tables(engine, [core_branch()])
