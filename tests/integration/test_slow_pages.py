"""A command that takes long for a page has no transaction open meanwhile: servers end one that is idle."""

import time
from collections.abc import Iterator

import pytest
from sqlalchemy import Column, Connection, Engine, Integer, MetaData, Table, event
from sqlalchemy.engine import make_url

from sparkle_app.audit import auditor
from sparkle_app.audit.auditor import Auditor
from sparkle_app.model.retention import READINGS
from sparkle_app.model.time import EARLIEST, LATEST, span
from sparkle_app.plugin_api import Base, Plugin
from sparkle_app.storage.engine import make_engine
from sparkle_app.storage.hosts import Host
from sparkle_app.storage.models import tables_of
from sparkle_app.storage.retention import advance, begin
from sparkle_app.transfer.moving import Copy
from tests.support.contract import START, Aggregates, Readings, reading, store

pytestmark = pytest.mark.parametrize("database_url", ["postgresql", "mariadb"], indirect=True)

LIMITS = {
    "postgresql": "SET LOCAL idle_in_transaction_session_timeout = '3s'",
    "mysql": "SET SESSION idle_transaction_timeout = 3",
}
PAUSE_SECONDS = 4


class Default(Plugin):
    DataFrame = Readings
    Aggregates = Aggregates


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = make_engine(make_url(database_url), for_command=True)

    @event.listens_for(engine, "begin")
    def limit(connection: Connection) -> None:
        connection.exec_driver_sql(LIMITS[engine.name])

    Base.metadata.create_all(engine, tables=[Host.__table__, *tables_of(Readings, Aggregates)])
    yield engine
    engine.dispose()


@pytest.mark.parametrize("expired", [False, True], ids=["readings", "aggregates"])
def test_chunks_are_compared_however_long_the_caller_takes(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, expired: bool
) -> None:
    store(engine, [reading(number, hostname=f"host-{number}") for number in range(3)])
    with engine.begin() as connection:
        begin(connection, "p", 60)
    audit = Auditor("p", Default(), engine, 60)
    scope = audit.scope(EARLIEST, LATEST)
    assert [audit.repair(each) for each in audit.compare(scope)] == [3]
    if expired:
        advance(engine, "p", READINGS, kept_since=START + span(3600))
        scope = audit.scope(EARLIEST, LATEST)
        assert len(scope.earlier) == 3
    monkeypatch.setattr(auditor, "_CHUNK_HOSTS", 1)
    chunks = 0
    for _ in audit.compare(scope):
        time.sleep(PAUSE_SECONDS)
        chunks += 1
    assert chunks == 3


def test_a_table_without_primary_key_is_copied_however_long_that_takes(engine: Engine) -> None:
    table = Table("sparkle_slow_copy", MetaData(), Column("n", Integer))
    table.create(engine)
    try:
        with engine.begin() as connection:
            connection.execute(table.insert(), [{"n": 1}])
        for page in Copy({}, engine, engine, 60)._whole(table):
            time.sleep(PAUSE_SECONDS)
            assert len(page) == 1
    finally:
        table.drop(engine)
