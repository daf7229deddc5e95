"""Lines: what lists show of a host, and the pages of lines that workers send each other."""

from functools import partial
from typing import Annotated

import msgspec

from sparkle_app.envelope.v1 import HOSTNAME_MAX, KEY_MAX
from sparkle_app.model.buckets import Statistics, merged
from sparkle_app.plugin.panel import Panel
from sparkle_app.web.parts import WebParts
from sparkle_app.web.snapshots.local import LocalView

LINES_PATH = "/internal/v1/lines"
PAGE_LINES = 1000
"""Decoded at once: some milliseconds."""
MAX_LINES = 100_000
"""Of one worker: more than any has hosts, and not as many as would fill the memory."""


class Line(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A host in the window of one plugin."""

    host: Annotated[str, msgspec.Meta(max_length=HOSTNAME_MAX)]
    total: Statistics
    """Of the requested metrics together."""
    metric: Annotated[str, msgspec.Meta(max_length=KEY_MAX)]
    """The metric that stands for the host."""
    headline: Statistics
    """Its statistics."""


class View(msgspec.Struct, frozen=True):
    """Which lines."""

    plugin: str
    window: int
    """Seconds."""
    metric: str | None = None
    """Only this metric; None: all metrics."""


class LinesQuery(msgspec.Struct, frozen=True):
    """A worker's request for the lines of another one that have changed."""

    view: View
    start: int
    end: int
    epoch: str
    """Of the last page; empty: all lines."""
    since: int
    """``changes`` of the last page."""
    first: bool
    """Whether the lines are to be brought up to date. Otherwise this is a further page of what has changed."""


class LinesPage(msgspec.Struct):
    """The lines that have changed."""

    partitions: list[int]
    """The partitions that the worker owns."""
    epoch: str
    """If it is another one than that of the query, all earlier lines are void."""
    changes: int
    lines: list[Line]
    removed: list[str]
    """Hosts that have no readings in the window any more."""
    more: bool
    """Whether there are further pages."""


def local_lines(parts: WebParts, view: View) -> LocalView[Line]:
    """The lines of this worker's hosts."""
    panel = parts.plugins[view.plugin].panel
    return LocalView(parts, view.plugin, partial(_line, panel, view.metric))


def page_of(local: LocalView[Line], query: LinesQuery) -> LinesPage:
    """The first page of what has changed since."""
    since = query.since if query.epoch == local.epoch else 0
    changed = list(local.changed_since(since, PAGE_LINES))
    changes = changed[-1][0] if changed else since
    lines = [local.values[host] for _, host in changed if host in local.values]
    removed = [host for _, host in changed if host not in local.values]
    return LinesPage(sorted(local.partitions), local.epoch, changes, lines, removed, changes < local.changes)


def _line(panel: Panel, metric: str | None, hostname: str, metrics: dict[str, Statistics]) -> Line | None:
    if metric is not None:
        metrics = {metric: metrics[metric]} if metric in metrics else {}
    if not metrics:
        return None
    total = merged({"": statistics} for statistics in metrics.values())[""]
    name = panel.headline_of(metrics)
    return Line(hostname, total, name, metrics[name])
