"""Series of one host with 24 metrics, from PostgreSQL with millions of aggregates that were stored directly."""

import gc
import random
import statistics
import time
from collections.abc import Callable, Iterator
from itertools import islice

import msgspec
from sqlalchemy import Engine
from sqlalchemy.engine import make_url

from sparkle_app.model.buckets import AggregateRow, Statistics
from sparkle_app.model.time import from_seconds, span
from sparkle_app.plugin.discovery import load_plugins
from sparkle_app.plugin.history import Columns, load_columns
from sparkle_app.plugin_api import Plugin
from sparkle_app.storage.engine import make_engine, read_transaction
from sparkle_app.storage.migrations.migration import create_tables
from sparkle_app.storage.resolutions import Coverage
from sparkle_app.web.api.steps import step_for
from tests.support.worker import PROJECT

METRICS, POINTS = 24, 400
DAY, HOUR, FIVE_MINUTES = 86_400, 3600, 300
AT_ONCE = 5000
Figures = dict[str, float]


def measure(url: str, hosts: int, queries: int) -> Figures:
    """Store 30 days of hours of each host, and of a tenth of the hosts three years of days; then query.

    Of three hosts, there are also 30 days of buckets of a minute with a reading every five minutes, and no hours.

    Returns:
        ``rows`` that were stored; ``month_p50`` and ``month_p99``: milliseconds from the question to the JSON of 30
        days, from hours; ``month_cpu``: CPU time of this process for it, likewise; ``years_…``: of three years, from
        days; ``minutes_…``: of 30 days, from minutes. In each case, about 400 points of each metric.
    """
    plugins = load_plugins(PROJECT / "plugins")
    plugin = plugins.installed["Temperature"].plugin
    engine = make_engine(make_url(url), for_command=True)
    try:
        create_tables(engine, plugins.branches)
        now = int(time.time()) // DAY * DAY
        month, years = (from_seconds(now - days * DAY) for days in (30, 3 * 365))
        end = from_seconds(now)
        kinds = {
            "month": ([f"host-{number:05}" for number in range(hosts)], HOUR, HOUR, month),
            "years": ([f"host-{number:05}" for number in range(0, hosts, 10)], DAY, DAY, years),
            "minutes": ([f"minutes-{number}" for number in range(3)], 60, FIVE_MINUTES, month),
        }
        figures: Figures = {"rows": 0}
        for names, resolution, interval, start in kinds.values():
            figures["rows"] += _store(engine, plugin, _rows(names, resolution, interval, start, end))
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("VACUUM ANALYZE")
        # As a worker does: what was stored is not searched for garbage.
        gc.freeze()
        for kind, (names, resolution, _, start) in kinds.items():
            step = step_for(end - start, POINTS, resolution)
            stored = [Coverage(resolution, start, end)]

            def query(
                name: str, stored: list[Coverage] = stored, start: int = start, step: int = step
            ) -> dict[str, Columns]:
                return _series(engine, plugin, name, stored, start, end, step)

            number = queries if kind != "minutes" else queries // 5
            figures |= _timed(kind, query, names, number, METRICS * (end - start) // span(step))
        return figures
    finally:
        engine.dispose()


def _rows(names: list[str], resolution: int, interval: int, start: int, end: int) -> Iterator[AggregateRow]:
    for at in range(start, end, span(interval)):
        for name in names:
            for metric in range(METRICS):
                value = random.gauss(60, 12)
                found = Statistics(12, 12 * value, value - 3, value + 3, value, at)
                yield AggregateRow(name, f"core/{metric}", resolution, at, found)


def _store(engine: Engine, plugin: Plugin, rows: Iterator[AggregateRow]) -> int:
    number = 0
    while some := list(islice(rows, AT_ONCE)):
        with engine.begin() as connection:
            plugin.store_aggregates(connection, some)
        number += len(some)
    return number


def _series(
    engine: Engine, plugin: Plugin, name: str, stored: list[Coverage], start: int, end: int, step: int
) -> dict[str, Columns]:
    with read_transaction(engine) as connection:
        return load_columns(plugin, connection, name, None, stored, start, end, step, 1_000_000)


def _timed(
    kind: str, query: Callable[[str], dict[str, Columns]], names: list[str], number: int, points: int
) -> Figures:
    times, used = [], []
    for _ in range(number):
        began, cpu = time.perf_counter(), time.thread_time()
        found = query(random.choice(names))
        msgspec.json.encode(found)
        times.append(1000 * (time.perf_counter() - began))
        used.append(1000 * (time.thread_time() - cpu))
        answered = sum(len(each.at) for each in found.values())
        # The first and the last step may begin or end in between.
        assert 0 <= answered - points <= 2 * METRICS, f"expected {points} points, found {answered}"
    cuts = statistics.quantiles(times, n=100, method="inclusive")
    return {f"{kind}_p50": cuts[49], f"{kind}_p99": cuts[98], f"{kind}_cpu": statistics.median(used)}
