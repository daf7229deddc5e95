"""The metric that stands for a host, of many hosts in steps: in SQL, or from what the plugin's own method loads."""

from collections.abc import Collection, Iterable, Sequence

from sqlalchemy import Connection

from sparkle_app.model.buckets import LARGE, AggregateRow, Statistics
from sparkle_app.model.time import span
from sparkle_app.plugin.default_tables import has_default_aggregates
from sparkle_app.plugin.panel import Headline
from sparkle_app.plugin_api import Plugin
from sparkle_app.storage.headlines import select_headlines
from sparkle_app.storage.resolutions import Coverage, sources

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
    best = max if headline.statistic == "maximum" else min
    of: dict[tuple[str, bool], dict[int, float | None]] = {}
    for source in sources(stored, start, end, step):
        for host, named, number, average in _rows(plugin, headline, connection, hostnames, source, step):
            averages = of.setdefault((host, named), {})
            # A step may have buckets of two resolutions: of the two averages, the one that is looked for.
            both = [each for each in (average, averages.get(number * span(step))) if each is not None]
            averages[number * span(step)] = best(both, default=None)
    return {host: of.get((host, True), of.get((host, False), {})) for host in hostnames}


def _rows(
    plugin: Plugin,
    headline: Headline,
    connection: Connection,
    hostnames: Sequence[str],
    source: Coverage,
    step: int,
) -> Iterable[tuple[str, bool, int, float | None]]:
    scope = (source.resolution, source.start, source.end)
    highest = headline.statistic == "maximum"
    if has_default_aggregates(plugin):
        table = plugin.Aggregates.__table__
        return select_headlines(connection, table, hostnames, headline.metric, highest, *scope, step)
    rows = plugin.load_aggregates(connection, hostnames, None, *scope)
    return _headlines(rows, headline.metric, highest, step)


def _headlines(
    rows: Iterable[AggregateRow], metric: str | None, highest: bool, step: int
) -> list[tuple[str, bool, int, float | None]]:
    steps: dict[tuple[str, str, int], Statistics] = {}
    for row in rows:
        key = row.hostname, row.metric, row.bucket_start // span(step)
        if key in steps:
            steps[key].merge(row.statistics)
        else:
            steps[key] = row.statistics
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
