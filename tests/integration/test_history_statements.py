"""History over HTTP: which rows the database reads for it."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event

from sparkle_app.model.buckets import AggregateRow, Statistics
from sparkle_app.model.time import micros, rfc3339
from sparkle_app.storage.engine import read_transaction
from tests.support.cluster import PLUGIN, InProcessWorker
from tests.support.database import EVERY_DATABASE
from tests.support.history import BEGIN, DAY, MINUTE, START
from tests.support.rows import store


class Statements:
    """The queries of an engine."""

    def __init__(self, engine: Any) -> None:
        self.queries: list[str] = []
        event.listen(engine, "before_cursor_execute", self._note)

    def _note(self, _connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "SELECT" in statement:
            self.queries.append(statement)


@contextmanager
def executed(engine: Engine) -> Iterator[list[tuple[str, Any]]]:
    """The statements that are executed within the context, each with its parameters."""
    statements: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        statements.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(engine, "before_cursor_execute", note)


@pytest.mark.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)
async def test_a_series_is_read_by_an_index_and_no_more(worker: InProcessWorker) -> None:
    """EXPLAIN of the statement: no table is read whole, and the host, the metric and the time are in the index."""
    plugin = worker.app.plugins.installed[PLUGIN].plugin
    one = Statistics(1, 1.0, 1.0, 1.0, 1.0, START)
    rows = [
        AggregateRow(f"host-{host}", f"core/{metric}", 60, START + at * MINUTE, one)
        # A database reads a small table of names whole.
        for host in range(300)
        for metric in range(8)
        for at in range(60 if host < 20 else 1)
    ]
    with worker.engine.begin() as connection:
        plugin.store_aggregates(connection, rows)
        connection.exec_driver_sql("ANALYZE")
    path = f"/api/v1/plugins/{PLUGIN}/hosts/host-3/columns?from=2026-11-23T00:10:00Z&to=2026-11-23T00:20:00Z&step=120"
    for query in (path, f"{path}&metric=core/1&metric=core/2"):
        with executed(worker.engine) as statements:
            status, found = await worker.get(query)
        assert (status, {len(each["at"]) for each in found["series"].values()}) == (200, {5})
        with worker.engine.connect() as connection:
            plans = [plan_of(connection, *each) for each in statements if "SELECT" in each[0]]
        # First the watermarks, a few rows.
        _, plan = plans
        assert "Seq Scan" not in plan
        assert "SCAN temperature" not in plan
        assert "SCAN sparkle" not in plan
        assert "Index" in plan or "INDEX" in plan or "PRIMARY KEY" in plan, plan


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_one_host_of_a_hundred_is_read_by_an_index(worker: InProcessWorker) -> None:
    """By default, PostgreSQL reads the whole table, with all cores, if a host has a hundredth of its rows."""
    plugin = worker.app.plugins.installed[PLUGIN].plugin
    one = Statistics(1, 1.0, 1.0, 1.0, 1.0, START)
    names = [
        AggregateRow(f"host-{host}", f"core/{metric}", 60, START, one)
        for host in range(100)
        for metric in range(24)
    ]
    with worker.engine.begin() as connection:
        plugin.store_aggregates(connection, names)
        first, *_ = connection.exec_driver_sql("SELECT min(bucket) FROM temperature_aggregates_data").one()
        connection.exec_driver_sql(
            f"""INSERT INTO temperature_aggregates_data
            SELECT id, {first} + minute, 1, 1, 1, 1, 1, now() FROM sparkle_series, generate_series(1, 300) AS minute
            WHERE resolution = 60 ORDER BY minute, id"""
        )
    with worker.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM ANALYZE temperature_aggregates_data, sparkle_series")
    with executed(worker.engine) as statements:
        status, found = await worker.get(
            f"/api/v1/plugins/{PLUGIN}/hosts/host-3/columns?from=2026-11-23&to=2026-11-23T05:00:00Z&step=300"
        )
    assert (status, {len(each["at"]) for each in found["series"].values()}) == (200, {60})
    # In a transaction of the handler.
    with read_transaction(worker.engine) as connection:
        _, plan = [plan_of(connection, *each) for each in statements if each[0].startswith("SELECT")]
    assert "Seq Scan on temperature" not in plan
    assert "temperature_aggregates_data_pkey" in plan
    assert "Gather" not in plan


def plan_of(connection: Any, statement: str, parameters: Any) -> str:
    """How the database executes a statement."""
    explain = "EXPLAIN QUERY PLAN" if connection.dialect.name == "sqlite" else "EXPLAIN"
    return "\n".join(str(row) for row in connection.exec_driver_sql(f"{explain} {statement}", parameters))


@EVERY_DATABASE
async def test_each_reading_is_on_one_page_and_a_page_loads_no_more_rows_than_it_has(
    worker: InProcessWorker, database_url: str
) -> None:
    # Most at the same time, as of a host whose clock stands.
    times = [BEGIN + timedelta(seconds=max(0, n - 50)) for n in range(70)]
    store(database_url, [("web-1", f"m{n}", float(n), at) for n, at in enumerate(times)])
    store(database_url, [("web-2", "other", 0.0, at) for at in times])
    path = f"/api/v1/plugins/{PLUGIN}/hosts/web-1/readings?from=2026-11-23&to=2026-11-24"
    executed = Statements(worker.engine)
    found: list[dict[str, Any]] = []
    after = ""
    while True:
        status, page = await worker.get(f"{path}&limit=7{after}")
        assert status == 200
        found += page["readings"]
        if page["next"] is None:
            break
        assert len(page["readings"]) == 7
        after = f"&after={page['next']}"
    assert [each["observed_at"] for each in found] == [rfc3339(micros(at)) for at in times]
    assert {each["metric"] for each in found} == {f"m{n}" for n in range(70)}
    # The others find the time of a page's first row; the one more that there is no other page.
    first_rows = [each for each in executed.queries if each.startswith("SELECT min(")]
    watermarks = [each for each in executed.queries if "sparkle_retention" in each]
    pages = [each for each in executed.queries if each not in first_rows and each not in watermarks]
    assert (len(pages), len(first_rows), len(watermarks)) == (10, 11, 10)
    assert all("LIMIT" in statement for statement in pages)


async def test_a_forged_cursor_is_refused_or_a_position_like_any_other(
    worker: InProcessWorker, database_url: str
) -> None:
    store(database_url, [("web-1", f"m{n}", 1.0, BEGIN + timedelta(seconds=n)) for n in range(5)])
    path = f"/api/v1/plugins/{PLUGIN}/hosts/web-1/readings?from=2026-11-23&to=2026-11-24&limit=2"
    status, problem = await worker.get(f"{path}&after={START}-999999")
    assert (status, problem["detail"].startswith("after: expected the `next` value")) == (400, True)
    for at, metrics in [
        (START - DAY, ["m0", "m1"]),
        (START, ["m1", "m2"]),
        (START + 3_500_000, ["m4"]),
        (START + 2 * DAY, []),
    ]:
        status, page = await worker.get(f"{path}&after={at}-{'f' * 32}")
        assert (status, [each["metric"] for each in page["readings"]]) == (200, metrics)


@pytest.mark.parametrize("database_url", ["sqlite", "postgresql", "psycopg", "mariadb"], indirect=True)
async def test_the_end_of_a_long_step_may_be_beyond_the_numbers_of_buckets(
    tmp_path: Path, database_url: str
) -> None:
    store(database_url, [("web-1", "m", 1.0, BEGIN)])
    settings = f"database: {{url: '{database_url}'}}", "aggregates: {bucket_seconds: 2}"
    async with InProcessWorker(tmp_path / "worker", *settings) as worker:
        plugin = worker.app.plugins.installed[PLUGIN].plugin
        row = AggregateRow("web-1", "m", 2, START, Statistics(1, 1.0, 1.0, 1.0, 1.0, START))
        with worker.engine.begin() as connection:
            plugin.store_aggregates(connection, [row])
        path = f"/api/v1/plugins/{PLUGIN}/hosts/web-1"
        query = "from=2026-11-23&to=2026-11-24&step=999999d"
        status, found = await worker.get(f"{path}/series?{query}")
        assert (status, [each["count"] for each in found["series"]["m"]]) == (200, [1])
        status, found = await worker.get(f"{path}/columns?{query}&late=true")
        assert (status, found["series"]["m"]["count"], found["late"]) == (200, [1], {})
