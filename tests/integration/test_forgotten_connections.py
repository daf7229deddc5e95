"""Connections to a database that a proxy forgets are found, and cost no more than the limit of a call."""

import time
import uuid
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from psycopg2 import OperationalError
from psycopg2.extensions import set_wait_callback
from sqlalchemy import Engine, func, select, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from sparkle_app.storage.engine import make_engine
from sparkle_app.storage.errors import is_row_error
from tests.support.mariadb import MariadbServer
from tests.support.postgres import PostgresServer
from tests.support.proxy import Proxy


@pytest.fixture(params=["worker", "command", "psycopg", "mariadb-worker", "mariadb-command"])
def engine(request: pytest.FixtureRequest, proxy: Proxy) -> Iterator[Engine]:
    """A database behind the proxy, as workers and commands use it, and as a worker with the other driver."""
    database, _, use = str(request.param).rpartition("-")
    server: PostgresServer | MariadbServer = request.getfixturevalue(database or "postgres")
    proxy.target = f"127.0.0.1:{server.port}"
    url = make_url(server.create_database(f"test_{uuid.uuid4().hex[:8]}")).set(port=proxy.port)
    if use == "psycopg":
        url = url.set(drivername="postgresql+psycopg")
    engine = make_engine(url, for_command=use == "command")
    yield engine
    engine.dispose()
    set_wait_callback(None)


def test_a_pooled_connection_that_is_forgotten_is_replaced(
    engine: Engine, proxy: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    with engine.connect() as first, engine.connect() as second:
        for connection in (first, second):
            connection.execute(text("SELECT 1"))
    proxy.forget()
    began = time.monotonic()
    with engine.connect() as first, engine.connect() as second:
        for connection in (first, second):
            connection.execute(text("SELECT 1"))
    # One ping finds it, for all connections of the pool.
    assert time.monotonic() - began < 8
    assert f"the database at {proxy.address} has not answered a ping for 5 s: connecting again" in caplog.text


@pytest.mark.parametrize("engine", ["worker", "command"], indirect=True)
def test_a_connection_that_is_forgotten_after_the_first_half_of_a_ping_is_lost(
    engine: Engine, proxy: Proxy
) -> None:
    with engine.connect() as connection:
        driver: Any = connection.connection.driver_connection
        # As after a read transaction. Then the end of autocommit is a statement.
        driver.set_isolation_level("REPEATABLE READ")
        driver.autocommit = True
        proxy.forget()
        with pytest.raises(OperationalError, match=f"{proxy.address} has not answered for 5 s"):
            driver.autocommit = False
        assert driver.closed


def test_a_statement_may_take_longer_than_a_ping(engine: Engine) -> None:
    sleep = func.sleep if engine.name == "mysql" else func.pg_sleep
    with engine.connect() as connection:
        connection.execute(select(sleep(6)))


@pytest.mark.parametrize("commits", [False, True], ids=["statement", "commit"])
def test_a_connection_that_is_forgotten_in_a_transaction_is_lost_after_the_limit(
    engine: Engine, proxy: Proxy, commits: bool
) -> None:
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
        driver: Any = connection.connection.driver_connection
        driver.seconds = 1
        proxy.forget()
        call = connection.commit if commits else partial(connection.execute, text("SELECT 1"))
        with pytest.raises(DBAPIError, match=f"{proxy.address} has not answered for 1 s") as raised:
            call()
    assert raised.value.connection_invalidated
    assert not is_row_error(raised.value)
