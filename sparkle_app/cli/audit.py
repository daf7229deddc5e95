"""Base of ``verify`` and ``rebuild``: selection of aggregates, and iteration."""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

from faust.cli.base import option

from sparkle_app.audit.auditor import Auditor
from sparkle_app.audit.chunks import ChunkResult
from sparkle_app.audit.differences import AggregateKey, Difference
from sparkle_app.cli.base import OutputClosedError, UsageError
from sparkle_app.cli.database import DatabaseCommand, time_range
from sparkle_app.cli.options import TEXT, Instant
from sparkle_app.model.buckets import Statistics
from sparkle_app.model.retention import DAY, HOUR
from sparkle_app.model.time import rfc3339
from sparkle_app.runtime.terminal import counted

SCOPE: list[Any] = [
    option("--plugin", type=TEXT, help="only aggregates of this plugin"),
    option("--host", type=TEXT, help="only aggregates of this host"),
    option("--since", type=Instant(), help="start of the time range, such as 2026-11-23T12:00:00Z"),
    option(
        "--until",
        type=Instant(),
        help="end of the time range, exclusive; a bucket that is partly in the range is included as a whole, but"
        " hourly and daily aggregates that are partly in it are not compared",
    ),
]


_NAMES = {HOUR: "hour", DAY: "day"}


class AuditCommand(DatabaseCommand):
    """A command that compares aggregates with stored readings."""

    abstract = True

    def auditors(self, plugin: str | None, host: str | None) -> dict[str, Auditor]:
        """An auditor for each selected plugin, by NAME.

        Raises:
            UsageError: when the plugin is not installed, or no selected plugin has data of the host.
            ConfigurationError: when the database has to be migrated first.
        """
        installed = self.handler.plugins.installed
        if plugin is not None and plugin not in installed:
            raise UsageError(
                "--plugin",
                expected=f"one of {', '.join(installed)}",
                found=plugin,
                hint="run check to see why a plugin is not installed",
            )
        bucket_size = self.handler.settings.aggregates.bucket_seconds
        engine = self.current_engine()
        if plugin is None:
            self.warn_of_plugins()
        auditors = {
            name: Auditor(name, each.plugin, engine, bucket_size)
            for name, each in installed.items()
            if plugin in (None, name)
        }
        if host is not None and not any(each.knows(host) for each in auditors.values()):
            raise UsageError(
                "--host",
                expected=f"a host with readings of {' or '.join(auditors)}",
                found=host,
                hint="use the hostname that its records carry",
            )
        return auditors

    def results(
        self, name: str, auditor: Auditor, host: str | None, since: int | None, until: int | None
    ) -> Iterator[ChunkResult]:
        """Compare chunk by chunk, with a progress bar.

        Raises:
            UsageError: when the time range is empty.
        """
        start, end = time_range(since, until)
        scope = auditor.scope(start, end, host)
        with self.progress(scope.rows, name) as progress:
            for result in auditor.compare(scope):
                yield result
                progress.update(result.rows)

    def _write(self, line: str, *args: Any, **kwargs: Any) -> None:
        # If the reader has closed standard output, the command still completes.
        with suppress(OutputClosedError):
            super()._write(line, *args, **kwargs)


def by_resolution(keys: Iterable[AggregateKey]) -> Counter[int]:
    """How many aggregates there are of each resolution, the finest first."""
    return Counter(sorted(key.resolution for key in keys))


def not_verifiable(plugin: str, number: Counter[int]) -> str:
    """A line about aggregates that are kept longer than what they were computed from."""
    parts = (f"{each} of {_NAMES.get(resolution, 'bucket')}s" for resolution, each in sorted(number.items()))
    return (
        f"{plugin}: {counted(number.total(), 'aggregate')} ({', '.join(parts)}) can no longer be verified: their source"
        " rows have expired"
    )


def as_fields(plugin: str, difference: Difference) -> dict[str, Any]:
    """A difference as fields of the JSON output."""
    hostname, start, metric, resolution = difference.key
    return {
        "plugin": plugin,
        "host": hostname,
        "metric": metric,
        "resolution": resolution,
        "bucket_start": rfc3339(start),
        "stored": _statistics(difference.stored),
        "computed": _statistics(difference.computed),
    }


def as_line(plugin: str, difference: Difference) -> str:
    """A difference as a line of text."""
    hostname, start, metric, resolution = difference.key

    def describe(statistics: Statistics | None) -> str:
        if not statistics:
            return "none"
        s = statistics
        return f"count {s.count} sum {s.sum:g} min {s.minimum:g} max {s.maximum:g} last {s.last:g}"

    merged = f", {_NAMES[resolution]}" if resolution in _NAMES else ""
    aggregate = f"{plugin} {hostname!r} {metric!r} {rfc3339(start)}{merged}"
    return f"{aggregate}: stored {describe(difference.stored)}; computed {describe(difference.computed)}"


def _statistics(statistics: Statistics | None) -> dict[str, Any] | None:
    if not statistics:
        return None
    return {name: getattr(statistics, name) for name in ("count", "sum", "minimum", "maximum", "last")}
