"""SQLite: which connections change the file."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.engine import make_url

from sparkle_app.storage.engine import make_engine, read_transaction


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
