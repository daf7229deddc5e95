"""The metric that stands for a host, of many hosts in steps: in SQL, or from what the plugin's own method loads."""

from collections.abc import Collection, Iterable, Sequence
from itertools import chain

from sqlalchemy import Connection

from sparkle_app.model.buckets import LARGE, AggregateRow, Statistics, merge_into
from sparkle_app.model.time import span
from sparkle_app.plugin.default_tables import has_default_aggregates
from sparkle_app.plugin.panel import Headline
from sparkle_app.plugin_api import Plugin
from sparkle_app.storage.aggregate_steps import select_merged
from sparkle_app.storage.headlines import select_headlines
from sparkle_app.storage.resolutions import Coverage, by_steps, sources

Averages = dict[str, dict[int, float | None]]
"""By hostname and start of the step (microseconds since the epoch)."""


def load_headlines(
    plugin: Plugin,
    headline: Headline,
    connection: Connection,
    hostnames: Sequence[str],
    stored: Sequence[Coverage],
    start: int,
    end: int,
    step: int,
) -> Averages:
    """The average of the headline of each host in each step with readings.

    If the headline is no certain metric, or a host does not have it, it is the highest (or lowest) average of a step.

    Arguments:
        hostnames: at most as many as fit into one statement.
        stored: the aggregates that are stored (storage/resolutions.py).
        start, end: bounds of steps.
        step: seconds, a multiple of one of their resolutions.
    """
    of: dict[tuple[str, bool], dict[int, float | None]] = {}
    for part in by_steps(sources(stored, start, end, step), step):
        for host, named, number, average in _rows(plugin, headline, connection, hostnames, part, step):
            of.setdefault((host, named), {})[number * span(step)] = average
    return {host: of.get((host, True), of.get((host, False), {})) for host in hostnames}


def _rows(
    plugin: Plugin,
    headline: Headline,
    connection: Connection,
    hostnames: Sequence[str],
    part: Sequence[Coverage],
    step: int,
) -> Iterable[tuple[str, bool, int, float | None]]:
    highest = headline.statistic == "maximum"
    if has_default_aggregates(plugin) and len(part) == 1:
        (source,) = part
        scope = (source.resolution, source.start, source.end)
        table = plugin.Aggregates.__table__
        return select_headlines(connection, table, hostnames, headline.metric, highest, *scope, step)
    found = (_load(plugin, connection, hostnames, source, step) for source in part)
    return _headlines(chain.from_iterable(found), headline.metric, highest, step)


def _load(
    plugin: Plugin, connection: Connection, hostnames: Sequence[str], source: Coverage, step: int
) -> Iterable[AggregateRow]:
    scope = (source.resolution, source.start, source.end)
    if has_default_aggregates(plugin):
        return select_merged(connection, plugin.Aggregates.__table__, hostnames, *scope, step)
    return plugin.load_aggregates(connection, hostnames, None, *scope)


def _headlines(
    rows: Iterable[AggregateRow], metric: str | None, highest: bool, step: int
) -> list[tuple[str, bool, int, float | None]]:
    steps: dict[tuple[str, str, int], Statistics] = {}
    for row in rows:
        merge_into(steps, (row.hostname, row.metric, row.bucket_start // span(step)), row.statistics)
    found: dict[tuple[str, bool, int], list[float]] = {}
    for (hostname, name, number), statistics in steps.items():
        found.setdefault((hostname, name == metric, number), []).append(statistics.average)
    return [(*key, _best(averages, highest)) for key, averages in found.items()]


def _best(averages: Collection[float], highest: bool) -> float | None:
    """As :func:`select_headlines`."""
    usual = [each for each in averages if abs(each) < LARGE]
    if not usual:
        return None
    return max(usual) if highest else min(usual)
