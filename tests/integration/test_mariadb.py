"""MariaDB: its tables, its limits and its locks."""

import threading
from datetime import UTC, datetime

import msgspec
import pytest
from sqlalchemy import Column, DateTime, Engine, Float, Index, MetaData, String, Table, text
from sqlalchemy.exc import DBAPIError

from sparkle_app.model.time import moment
from sparkle_app.plugin_api import Base, StringReadingsTable
from sparkle_app.storage.aggregates import upsert_growing
from sparkle_app.storage.data_tables import data_table
from sparkle_app.storage.engine import read_transaction
from sparkle_app.storage.errors import is_lock_conflict, is_row_error
from sparkle_app.storage.migrations.branches import core_branch
from sparkle_app.storage.migrations.migration import create_tables, migrate
from sparkle_app.storage.models import tables_of
from sparkle_app.storage.readings import insert_new, select_known
from tests.integration.conftest import MakeEngine
from tests.support.contract import AGGREGATES, READINGS, Aggregates, Readings, aggregate, reading, store
from tests.support.eventually import eventually
from tests.support.mariadb import MariadbServer

pytestmark = pytest.mark.usefixtures("mariadb")


class Texts(StringReadingsTable):
    __tablename__ = "contract_texts"


TABLES = tables_of(Readings, Aggregates, Texts)


@pytest.fixture
def engine(make_mariadb: MakeEngine) -> Engine:
    engine = make_mariadb()
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
    engine: Engine, mariadb: MariadbServer, make_mariadb: MakeEngine
) -> None:
    # Half of the characters have to be escaped.
    readings = [
        msgspec.structs.replace(reading(number), value="'x" * 500 + str(number)) for number in range(400)
    ]
    (default,) = mariadb.run("SELECT @@max_allowed_packet")[0]
    mariadb.run(f"SET GLOBAL max_allowed_packet = {64 * 1024}")
    try:
        with make_mariadb().begin() as connection:
            assert len(insert_new(connection, Texts.__table__, readings)) == len(readings)
            assert len(list(select_known(connection, Texts.__table__, readings))) == len(readings)
    finally:
        mariadb.run(f"SET GLOBAL max_allowed_packet = {default}")


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


def test_an_id_that_another_transaction_inserts_meanwhile_is_known(
    named_or_not: Engine, mariadb: MariadbServer
) -> None:
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
        waiting = "SELECT 1 FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'"
        eventually(lambda: mariadb.run(waiting), bool)
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


def test_a_migration_that_was_interrupted_can_be_repeated(make_mariadb: MakeEngine) -> None:
    engine = make_mariadb()
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


@pytest.mark.parametrize("interrupted", [False, True])
def test_the_number_of_rebuilds_is_moved_although_an_attempt_was_interrupted(
    make_mariadb: MakeEngine, interrupted: bool
) -> None:
    engine = make_mariadb()
    create_tables(engine, [core_branch()])
    with engine.begin() as connection:
        if not interrupted:
            connection.execute(text("ALTER TABLE sparkle_retention DROP COLUMN rebuilt_at"))
        connection.execute(
            text(
                "INSERT INTO sparkle_retention (plugin, resolution, complete_since, kept_since, deleted_until,"
                " merging_until, merged_until) VALUES ('p', 0, 0, 0, 0, 0, 7), ('p', 60, 0, 0, 0, 0, 8)"
            )
        )
        connection.execute(text("UPDATE sparkle_schema SET version_num = '0004'"))
    for _ in range(2):
        migrate(engine, [core_branch()], [], lambda _: None)
        with read_transaction(engine) as connection:
            marks = connection.execute(
                text("SELECT merged_until, rebuilt_at FROM sparkle_retention ORDER BY resolution")
            )
            assert [tuple(row) for row in marks] == [(0, 7), (8, 0)]
