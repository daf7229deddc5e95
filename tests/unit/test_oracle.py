"""Oracle Database, as far as it can be tested without a server: statements, their grammar, types, and errors."""

import ast
import inspect
import math
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import oracledb
import pytest
import sqlglot
from sqlalchemy import Connection, Engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, NoResultFound
from sqlglot import expressions

from sparkle_app import storage
from sparkle_app.model.buckets import AggregateRow, Statistics
from sparkle_app.model.host_activity import HostActivity
from sparkle_app.model.reading import Reading
from sparkle_app.model.time import LATEST
from sparkle_app.plugin_api import AggregatesTable, ReadingsTable, StringReadingsTable
from sparkle_app.storage import (
    aggregate_steps,
    aggregates,
    aggregation,
    earlier_hosts,
    expiry,
    extents,
    host_queries,
    hosts,
    names,
    positions,
    readings,
    renames,
    retention,
    rows,
    trial,
)
from sparkle_app.storage.data_tables import data_table
from sparkle_app.storage.engine import make_engine, notice, read_transaction
from sparkle_app.storage.errors import (
    is_lock_conflict,
    is_refused_login,
    is_row_error,
    server_message,
    transient_error,
)
from sparkle_app.storage.headlines import select_headlines
from sparkle_app.storage.late import select_late
from sparkle_app.storage.models import SOURCES, Base, tables_of
from tests.support.oracle import Statement, recording_engine

START, HOUR = 1_764_000_000_000_000, 3_600_000_000


class Readings(ReadingsTable):
    __tablename__ = "oracle_readings"


class Texts(StringReadingsTable):
    __tablename__ = "oracle_texts"


class Aggregates(AggregatesTable):
    __tablename__ = "oracle_aggregates"


READINGS, AGGREGATES = Readings.__table__, Aggregates.__table__


def reading(number: int) -> Reading:
    return Reading(
        id=number.to_bytes(16), config_id=1, hostname="host", plugin="P", key="", value=1e308,
        observed_at=START + number, received_at=START, clock_trusted=True, topic="t", partition=3, offset=number,
    )  # fmt: skip


def aggregate(metric: str) -> AggregateRow:
    return AggregateRow("host", metric, 60, START, Statistics(1, math.inf, -1.0, 1.0, 0.1, START))


@pytest.fixture
def statements() -> list[Statement]:
    return []


@pytest.fixture
def engine(statements: list[Statement]) -> Iterator[Engine]:
    engine = recording_engine(statements)
    # As after the first connection.
    engine.connect().close()
    statements.clear()
    yield engine
    engine.dispose()


def every_statement(connection: Connection) -> None:
    """Calls each public function of storage that executes statements on a connection."""
    given = [reading(number) for number in range(3)]
    ids = [each.id for each in given]
    readings.insert_new(connection, READINGS, given)
    readings.insert_new(connection, READINGS, given[:1])
    list(readings.select_known(connection, READINGS, given))
    readings.select_ids(connection, READINGS, ids)
    list(readings.select_metrics(connection, READINGS, {START: ["a", "b"]}, 60))
    list(readings.select_span(connection, READINGS, ["a"], START, START + HOUR, 10))
    list(readings.select_page(connection, READINGS, "a", START, START + HOUR, 7, (START, ids[0])))
    list(readings.select_counts(connection, READINGS, START, START + HOUR, "a"))
    readings.select_nth_time(connection, READINGS, "a", START, START + HOUR, 10)
    counted = [aggregate("a"), aggregate("b")]
    aggregates.upsert_growing(connection, AGGREGATES, counted)
    aggregates.upsert_growing(connection, AGGREGATES, counted[:1])
    list(aggregates.select_aggregates(connection, AGGREGATES, ["a"], "m", 60, START, START + HOUR))
    list(aggregate_steps.select_steps(connection, AGGREGATES, "a", ["m"], 60, START, START + HOUR, 600, 9))
    for metric in ("m", None):
        select_headlines(connection, AGGREGATES, ["a", "b"], metric, True, 60, START, START + HOUR, 600)
    select_late(connection, READINGS, "a", ["m"], START, START + HOUR, 600, 9)
    list(aggregate_steps.select_points(connection, AGGREGATES, "a", ["m"], 60, START, START + HOUR, 600, 9))
    aggregate_steps.select_merged(connection, AGGREGATES, ["a", "b"], 60, START, START + HOUR, 3600)
    aggregates.delete_aggregates(connection, AGGREGATES, 60, [("a", START, "m"), ("b", START, "m")])
    list(aggregates.select_bucket_counts(connection, AGGREGATES, 60, START, START + HOUR, None))
    list(aggregation.aggregate_readings(connection, READINGS, ["a"], 60, START, START + HOUR))
    aggregation.insert_aggregated(connection, AGGREGATES, READINGS, ["a"], 60, START, START + HOUR)
    extents.select_resolutions(connection, AGGREGATES)
    list(extents.select_extents(connection, AGGREGATES, 60, START, START + HOUR, "a"))
    list(extents.select_aggregated_metrics(connection, AGGREGATES, "a", 60, START, START + HOUR))
    list(host_queries.select_hosts(connection, "P", 1))
    host_queries.select_removed(connection, START)
    host_queries.select_page_of_hosts(connection, "P", START, 10, "a")
    host_queries.count_hosts(connection, START)
    hosts.remove_host(connection, "a", "P", START)
    host_queries.plugins_of_host(connection, "a")
    host_queries.select_activity(connection, "a", "P")
    host_queries.select_last_receipt(connection, "P", START)
    expiry.delete_readings(connection, READINGS, ["a", "b"], START, START + HOUR)
    expiry.delete_buckets(connection, AGGREGATES, ["a", "b"], 60, START, START + HOUR)
    expiry.first_reading(connection, READINGS, START + HOUR, START)
    expiry.first_bucket(connection, AGGREGATES, 60, START + HOUR, START)
    expiry.named_hosts(connection)
    expiry.former_bucket_sizes(connection, 60)
    for kind, resolution in ((READINGS, 0), (AGGREGATES, 60)):
        expiry.first_of_hosts(connection, kind, resolution, START)
        # The recording connection has no row of it.
        with suppress(NoResultFound):
            expiry.count_expired(connection, kind, resolution, START)
        with suppress(NoResultFound):
            rows.count_rows(connection, data_table(kind))
        rows.existing(connection, [kind])
        rows.select_rows(connection, data_table(kind), None, 10)
        rows.all_rows(connection, data_table(kind))
    source: dict[str, Any] = {"id": 1, "key": b"k" * 16, "config_id": 1, "topic": "t", "partition": 0}
    source["clock_trusted"] = True
    rows.select_rows(connection, SOURCES, source, 10)
    rows.write_rows(connection, SOURCES, [source], lambda *_: True)
    rows.replace_rows(connection, SOURCES, [source])
    rows.unknown_tables(connection)
    list(positions.select_newest(connection, READINGS))
    names.find_series(connection, [("a", "m")], 60)
    names.create_series(connection, [("a", "m")], 60)
    names.create_sources(connection, [(1, "t", 0, True)])
    names.hosts_with_more_series(connection, ["a"], 10)
    earlier_hosts.add_hosts_of_readings(connection, {"P": READINGS})
    common = [renames.CommonSeries("m", resolution, 1, 2) for resolution in (0, 60)]
    renames.common_series(connection, "a", "b")
    renames.common_buckets(connection, AGGREGATES, common[1])
    for kind in (READINGS, AGGREGATES):
        renames.count_host_rows(connection, kind, "a")
        renames.move_rows(connection, kind, common)
    renames.rename_series(connection, "a", "b")
    renames.rename_activity(connection, "a", "b")
    retention.watermarks(connection, "P", 60, lock=True)
    retention.watermarks_to_rebuild(connection, "P", 60, [START])
    retention.begin(connection, "P", 60)
    retention.lock_out_writers(connection, ["P"])
    retention.raise_complete_since(connection, "P", 60, START)
    trial.try_deleting(connection, [READINGS, AGGREGATES])
    for kind in (READINGS, AGGREGATES):
        connection.execute(data_table(kind).delete())
    readings.insert_new(connection, Texts.__table__, [text_reading(1), text_reading(2)])
    trial.try_writing(connection)


def text_reading(number: int) -> Reading:
    return msgspec.structs.replace(reading(number), value="text")


def test_no_function_is_left_out() -> None:
    """Of the modules of storage, each that executes statements on a connection is called."""
    called = inspect.getsource(every_statement)
    # Called by those that are, or in `test_every_statement_is_one_of_oracles_grammar`.
    indirectly = {"naming", "insert_hosts"}
    # Views are created by migrations, SQLite's files are checked by `check`.
    elsewhere = {"create_view", "drop_view", "damage"}
    for file in Path(storage.__path__[0]).glob("*.py"):
        for function in ast.parse(file.read_text("utf-8")).body:
            if not isinstance(function, ast.FunctionDef) or function.name.startswith("_"):
                continue
            kinds = [ast.unparse(each.annotation) for each in function.args.args if each.annotation]
            if "Connection" in kinds and function.name not in indirectly | elsewhere:
                assert f"{file.stem}.{function.name}(" in called or f" {function.name}(" in called, (
                    function.name
                )


def test_every_statement_is_one_of_oracles_grammar(engine: Engine, statements: list[Statement]) -> None:
    with engine.begin() as connection:
        every_statement(connection)
    with engine.begin() as connection:
        Base.metadata.create_all(
            connection,
            tables=[*tables_of(Readings, Texts, Aggregates), hosts.Host.__table__],
        )
    with read_transaction(engine) as connection:
        every_statement(connection)
    times = dict.fromkeys(
        ("first_received_at", "last_received_at", "first_observed_at", "last_observed_at"), START
    )
    activity = HostActivity(hostname="host", plugin="P", config_id=1, interval=None, **times)
    hosts.record_activity(engine, [activity], LATEST)
    # The recording connection says that each row is inserted, so those that are known are updated by hand.
    with engine.begin() as connection:
        hosts._update(connection, {hosts.host_id("host", "P"): activity}, LATEST)
    retention.advance(engine, "P", 60, kept_since=START)
    for statement, _, _ in statements:
        # PL/SQL, sessions, locks of tables and transactions are not part of that grammar.
        if statement.lstrip().startswith(
            ("DECLARE", "ALTER SESSION", "SET TRANSACTION", "SAVEPOINT", "LOCK TABLE")
        ):
            continue
        parsed = sqlglot.parse_one(statement, read="oracle", error_level=sqlglot.ErrorLevel.RAISE)
        assert not isinstance(parsed, expressions.Command), statement
    kinds = {statement.split(maxsplit=1)[0] for statement, _, _ in statements}
    assert {"MERGE", "SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "SAVEPOINT"} <= kinds
    assert "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE" in [statement for statement, _, _ in statements]
    locks = {statement for statement, _, _ in statements if statement.startswith("LOCK TABLE")}
    assert locks == {
        f"LOCK TABLE sparkle_retention IN {mode} MODE WAIT 30" for mode in ("ROW SHARE", "EXCLUSIVE")
    }


def test_rows_are_merged_in_one_call_with_the_types_of_their_columns(
    engine: Engine, statements: list[Statement]
) -> None:
    given = [reading(number) for number in (3, 1, 2)]
    with engine.begin() as connection:
        assert readings.insert_new(connection, READINGS, given) == {each.id for each in given}
        aggregates.upsert_growing(connection, AGGREGATES, [aggregate("b"), aggregate("")])
    (inserted, rows, types), (upserted, counted, _) = [each for each in statements if "MERGE" in each[0]]
    # In the same order in all workers.
    assert [row["p_id"] for row in rows] == sorted(each.id for each in given)
    # A number that is no double would lose digits.
    assert rows[0]["p_observed_at"].microsecond == 1
    assert types["p_value"] is oracledb.NATIVE_FLOAT
    assert types["p_observed_at"] is oracledb.TIMESTAMP
    assert "WHEN MATCHED" not in inserted
    assert "WHEN MATCHED THEN UPDATE SET" in upserted
    assert [row["p_series_id"] for row in counted] == sorted(row["p_series_id"] for row in counted)
    assert counted[0]["p_sum"] == math.inf
    # An empty string would be NULL.
    series = [each for each in statements if each[0].startswith("INSERT INTO sparkle_series ")]
    given_names = [row for _, rows, _ in series for row in (rows if isinstance(rows, list) else [rows])]
    assert [(row["metric"], row["resolution"]) for row in given_names[:1]] == [("\0", 0)]
    assert sorted(row["metric"] for row in given_names[1:]) == ["\0", "b"]
    assert [row["key"] for row in given_names[1:]] == sorted(row["key"] for row in given_names[1:])


def test_an_empty_value_is_not_null(engine: Engine, statements: list[Statement]) -> None:
    """Oracle takes an empty string for NULL, and would refuse the row."""
    with engine.begin() as connection:
        readings.insert_new(
            connection, Texts.__table__, [msgspec.structs.replace(text_reading(1), value=""), text_reading(2)]
        )
    (rows,) = [rows for statement, rows, _ in statements if "MERGE INTO oracle_texts_data" in statement]
    assert sorted(row["p_value"] for row in rows) == ["\0", "text"]
    column = data_table(Texts.__table__).c.value
    restored = column.type.dialect_impl(engine.dialect).result_processor(engine.dialect, None)
    assert restored
    assert [restored(value) for value in ("\0", "text", None)] == ["", "text", None]


def test_tables_have_types_that_keep_every_value(engine: Engine, statements: list[Statement]) -> None:
    Base.metadata.create_all(engine, tables=tables_of(Readings, Texts), checkfirst=False)
    created = {each.split()[2]: each for each, _, _ in statements if each.lstrip().startswith("CREATE TABLE")}
    for table, columns in {
        "oracle_readings_data": (
            "id RAW(16)", "value BINARY_DOUBLE", "observed_at TIMESTAMP", "offset NUMBER(19)",
        ),
        "sparkle_series": ("key RAW(16)", "hostname VARCHAR2(1024 CHAR)"),
        "sparkle_sources": ("key RAW(16)", "config_id NUMBER(19)", "partition INTEGER"),
        "oracle_texts_data": ("value CLOB",),
    }.items():  # fmt: skip
        for column in columns:
            assert column in created[table]


def test_a_closed_port_is_no_answer() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        engine = make_engine(make_url(f"oracle+oracledb://me:secret@127.0.0.1:{port}/?service_name=x"))
        with pytest.raises(DBAPIError) as caught:
            engine.connect()
    assert "DPY-6005" in str(caught.value)
    assert not is_row_error(caught.value)
    assert server_message(caught.value) is None
    assert not is_refused_login(caught.value)
    assert "secret" not in str(transient_error(caught.value))


class _Error:
    def __init__(self, number: int) -> None:
        self.code, self.full_code = number, f"ORA-{number:05}"
        self.message = (
            f"{self.full_code}: a text\nHelp: https://docs.oracle.com/error-help/db/{self.full_code}/"
        )

    def __str__(self) -> str:
        return self.message


def error(number: int) -> DBAPIError:
    """As the driver raises it."""
    return DBAPIError("INSERT", {}, oracledb.DatabaseError(_Error(number)))


@pytest.mark.parametrize(
    ("numbers", "is_row"),
    [
        ((1, 1400, 1438, 1722, 2290, 12899, 20001, 1461), True),
        (
            (60, 8177, 3113, 3114, 12541, 12514, 1653, 28000, 1017, 942, 904, 1031, 16000, 30006, 1555, 257),
            False,
        ),
    ],
)
def test_the_error_number_decides_whether_a_row_is_rejected(numbers: tuple[int, ...], is_row: bool) -> None:
    assert [is_row_error(error(number)) for number in numbers] == [is_row] * len(numbers)


def test_the_error_number_decides_what_to_do() -> None:
    assert all(is_lock_conflict(error(number)) for number in (60, 8177, 54, 30006))
    assert not is_lock_conflict(error(1))
    assert is_refused_login(error(28000))
    assert is_refused_login(error(1017))
    assert server_message(error(1653)) == "ORA-01653: a text"
    assert server_message(error(3113)) is None
    assert server_message(error(12541)) is None
    assert transient_error(error(1653)).hint == "add space to the tablespace"
    assert transient_error(error(12541)).hint is None


def test_the_driver_is_in_thin_mode_and_has_what_bulk_statements_use(engine: Engine) -> None:
    assert oracledb.is_thin_mode()
    assert hasattr(oracledb.Cursor, "getarraydmlrowcounts")
    assert {"tcp_connect_timeout", "expire_time"} <= set(dir(oracledb.ConnectParams))
    assert hasattr(oracledb.Connection, "call_timeout")
    assert notice(engine.url) == "oracle: no test has run on a server"
