"""Connections to a database that a proxy forgets are found, and cost no more than the limit of a call."""

import time
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
from tests.support.proxy import Proxy

WORKER, COMMAND = False, True
POSTGRESQL = [("postgresql", WORKER), ("postgresql", COMMAND)]
EVERY = [*POSTGRESQL, ("psycopg", WORKER), ("mariadb", WORKER), ("mariadb", COMMAND)]


def used_as(uses: list[tuple[str, bool]]) -> pytest.MarkDecorator:
    """Runs a test with these databases, as a worker or a command uses them."""
    ids = [f"{database}-{'command' if command else 'worker'}" for database, command in uses]
    return pytest.mark.parametrize(("database_url", "engine"), uses, ids=ids, indirect=True)


@pytest.fixture
def engine(request: pytest.FixtureRequest, database_url: str, proxy: Proxy) -> Iterator[Engine]:
    """A database behind the proxy."""
    url = make_url(database_url)
    proxy.target = f"127.0.0.1:{url.port}"
    engine = make_engine(url.set(port=proxy.port), for_command=request.param)
    yield engine
    engine.dispose()
    set_wait_callback(None)


@used_as(EVERY)
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
    assert (
        f"the database at {proxy.address} did not respond to a ping within 5 s: reconnecting" in caplog.text
    )


@used_as(POSTGRESQL)
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


@used_as(EVERY)
def test_a_statement_may_take_longer_than_a_ping(engine: Engine) -> None:
    sleep = func.sleep if engine.name == "mysql" else func.pg_sleep
    with engine.connect() as connection:
        connection.execute(select(sleep(6)))


@used_as(EVERY)
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
