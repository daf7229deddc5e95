"""Engines: the isolation level of writers; for SQLite, which connections change the file, and which can."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import QueuePool

from sparkle_app.model.errors import ConfigurationError
from sparkle_app.plugin_api import AggregatesTable, ReadingsTable
from sparkle_app.storage.engine import make_engine, read_transaction
from sparkle_app.storage.errors import transient_error
from sparkle_app.storage.models import tables_of
from sparkle_app.storage.trial import try_writing
from sparkle_app.worker.parts import CONNECTIONS


class TrialReadings(ReadingsTable):
    __tablename__ = "trial_readings"


class TrialAggregates(AggregatesTable):
    __tablename__ = "trial_aggregates"


MODELS = (TrialReadings, TrialAggregates)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A database that another program created, in the default journal mode."""
    file = tmp_path / "other.sqlite3"
    connection = sqlite3.connect(file)
    connection.execute("CREATE TABLE t (n)")
    connection.execute("INSERT INTO t VALUES (1)")
    connection.commit()
    connection.close()
    return file


@pytest.fixture
def engine(file: Path) -> Iterator[Engine]:
    engine = make_engine(make_url(f"sqlite:///{file}"))
    yield engine
    engine.dispose()


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("mysql+pymysql://host/db?connect_timeout=secret", "connect_timeout"),
        ("mysql+pymysql://host/db?local_infile=secret", "local_infile"),
        ("mysql+pymysql://host/db?charset=utf8mb4&port=secret", "port"),
        ("postgresql+psycopg2:///db?host=a&host=b&port=secret", "port"),
        ("postgresql+psycopg2://host/db?plugin=secret", "plugin"),
        ("oracle+oracledb://host/db?mode=secret", "mode"),
        ("oracle+oracledb://host/db?retry_count=2&expire_time=secret", "expire_time"),
        ("oracle+oracledb://host/?service_name=x&secret_=bar", "secret_"),
    ],
)
def test_the_error_names_a_parameter_that_the_driver_cannot_use(url: str, name: str) -> None:
    with pytest.raises(
        ConfigurationError, match=r"^database\.url: expected parameters that the driver "
    ) as caught:
        make_engine(make_url(url))
    assert str(caught.value.found).endswith(name)
    assert "\n" not in str(caught.value)
    assert "secret;" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    "driver", ["postgresql+psycopg2", "postgresql+psycopg", "mysql+pymysql", "oracle+oracledb"]
)
def test_each_thread_of_a_worker_has_a_connection_and_there_are_no_others(driver: str) -> None:
    pool = make_engine(make_url(f"{driver}://host/db"), threads=CONNECTIONS).pool
    assert isinstance(pool, QueuePool)
    assert (pool.size(), pool._max_overflow) == (CONNECTIONS, 0)


@pytest.mark.parametrize("folder", ["docs", "docs/ru"])
def test_the_number_of_connections_is_documented(folder: str) -> None:
    text = Path(__file__).parents[2].joinpath(folder, "operations.md").read_text(encoding="utf-8")
    section = text.partition("### PgBouncer")[2].partition("###")[0]
    assert re.search(rf"\b{CONNECTIONS} (connections|соединений)", section)


@pytest.mark.parametrize(
    "url",
    [
        "mysql+pymysql://me:p@host:3307/db?charset=latin1&connect_timeout=5",
        "postgresql+psycopg2://host/db?connect_timeout=5&sslmode=require",
        "oracle+oracledb://host:1521/?service_name=x&retry_count=2&mode=sysdba",
    ],
)
def test_parameters_that_the_driver_can_use_are_accepted(url: str) -> None:
    make_engine(make_url(url)).dispose()


def test_a_read_transaction_does_not_change_the_file(file: Path, engine: Engine) -> None:
    before = file.read_bytes()
    with read_transaction(engine) as connection:
        assert connection.execute(text("SELECT n FROM t")).scalars().all() == [1]
    engine.dispose()
    assert file.read_bytes() == before
    assert list(file.parent.iterdir()) == [file]


def test_a_transaction_that_writes_uses_wal_and_flushes_every_commit(file: Path, engine: Engine) -> None:
    for expected in ([1, 2], [1, 2, 2]):
        with engine.begin() as connection:
            connection.execute(text("INSERT INTO t VALUES (2)"))
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
            assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        with read_transaction(engine) as connection:
            assert connection.execute(text("SELECT n FROM t")).scalars().all() == expected


@pytest.fixture
def tables(file: Path) -> None:
    """The tables of a plugin, in the same journal mode."""
    engine = create_engine(f"sqlite:///{file}")
    MODELS[0].metadata.create_all(engine, tables=tables_of(*MODELS))
    engine.dispose()


@pytest.mark.usefixtures("tables")
def test_a_trial_does_not_change_the_file(file: Path, engine: Engine) -> None:
    before = file.read_bytes()
    with read_transaction(engine) as connection:
        missing = try_writing(connection)
        assert not {table.name for table in tables_of(*MODELS)} & set(missing)
    engine.dispose()
    assert file.read_bytes() == before
    assert list(file.parent.iterdir()) == [file]


def test_a_trial_names_the_tables_that_do_not_exist(file: Path, engine: Engine) -> None:
    before = file.read_bytes()
    with read_transaction(engine) as connection:
        assert {table.name for table in tables_of(*MODELS)} <= set(try_writing(connection))
    assert file.read_bytes() == before


@pytest.mark.usefixtures("tables")
def test_a_trial_shows_that_a_file_is_read_only(engine: Engine) -> None:
    # Also for a user who may write to every file.
    event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA query_only=ON"))
    with read_transaction(engine) as connection, pytest.raises(OperationalError) as caught:
        try_writing(connection)
    error = transient_error(caught.value)
    assert "readonly database" in str(error)
    assert error.hint == "make the file and its folder writable"


@pytest.mark.usefixtures("tables")
def test_a_trial_succeeds_while_another_process_writes(file: Path) -> None:
    engine = make_engine(make_url(f"sqlite:///{file}"))
    with closing(sqlite3.connect(file, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        with read_transaction(engine) as connection:
            try_writing(connection)
    engine.dispose()


@pytest.mark.parametrize("driver", ["postgresql+psycopg2", "postgresql+psycopg", "mysql+pymysql"])
def test_writers_have_the_same_isolation_level_whatever_the_default_of_the_server(driver: str) -> None:
    engine = make_engine(make_url(f"{driver}://sparkle@db.invalid/sparkle"))
    # What SQLAlchemy sets of each new connection.
    assert engine.dialect._on_connect_isolation_level == "READ COMMITTED"
