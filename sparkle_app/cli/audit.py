"""What ``verify`` and ``rebuild`` share: which aggregates are meant, and the way through them."""

import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from faust.cli.base import option
from sqlalchemy.exc import SQLAlchemyError

from sparkle_app.audit.auditor import Auditor, Difference, PageResult
from sparkle_app.cli.base import Instant, OutputClosedError, SparkleCommand, UsageError
from sparkle_app.config.settings import database_url
from sparkle_app.model.buckets import Statistics
from sparkle_app.model.errors import ConfigurationError
from sparkle_app.model.time import EARLIEST, LATEST, rfc3339
from sparkle_app.storage.engine import make_engine
from sparkle_app.storage.errors import server_message, transient_error

SCOPE: list[Any] = [
    option("--plugin", help="only this plugin's"),
    option("--host", help="only this host's"),
    option("--since", type=Instant(), help="of this time or later, such as 2026-11-23T12:00:00Z"),
    option("--until", type=Instant(), help="before this time; buckets that a time lies in are taken whole"),
]


class AuditCommand(SparkleCommand):
    """A command that goes through the aggregates of some plugins."""

    abstract = True

    def auditors(self, plugin: str | None, host: str | None) -> dict[str, Auditor]:
        """An auditor for each plugin that is meant.

        Raises:
            UsageError: when there is no such plugin, or none of them knows the host.
        """
        installed = self.handler.plugins.installed
        if plugin is not None and plugin not in installed:
            raise UsageError(
                "--plugin", expected=f"one of {', '.join(installed)}", found=plugin, hint="see check"
            )
        bucket_size = self.handler.settings.aggregates.bucket_seconds
        engine = make_engine(database_url(self.handler.settings), for_command=True)
        auditors = {
            name: Auditor(each.plugin, engine, bucket_size)
            for name, each in installed.items()
            if plugin in (None, name)
        }
        if host is not None and not any(each.hosts(EARLIEST, LATEST, host) for each in auditors.values()):
            raise UsageError(
                "--host",
                expected=f"a host with readings of {' or '.join(auditors)}",
                found=host,
                hint="spell it as the host does",
            )
        return auditors

    def results(
        self, name: str, auditor: Auditor, host: str | None, since: int | None, until: int | None
    ) -> Iterator[PageResult]:
        """What is found, page by page, with progress.

        Raises:
            UsageError: when the time ends before it begins.
        """
        start = EARLIEST if since is None else since
        end = LATEST if until is None else until
        if end <= start:
            raise UsageError(
                "--until",
                expected=f"a time after --since, {rfc3339(start)}",
                found=rfc3339(end),
                hint="exchange them, or leave one out",
            )
        hosts = auditor.hosts(start, end, host)
        with self.progress(sum(hosts.values()), name) as progress:
            for result in auditor.compare(hosts, start, end):
                yield result
                progress.update(result.readings)

    def say(self, message: str, *args: Any, **kwargs: Any) -> None:
        """A line to standard output. Where nobody reads it any more the work goes on, and gives its exit code."""
        with suppress(OutputClosedError):
            super().say(message, *args, **kwargs)

    def in_database(self, work: Callable[[], int]) -> int:
        """Do the command's work; what is wrong with the database is one clear line.

        Not in a thread: Ctrl-C ends it here, wherever it is, and what was not committed is not done.
        """
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            # asyncio's own would only ask the event loop, which waits for this work.
            signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            return work()
        except SQLAlchemyError as error:
            url = database_url(self.handler.settings).render_as_string()
            if said := server_message(error):
                raise ConfigurationError(
                    "database",
                    expected=f"{url} to do as it is asked",
                    found=" ".join(said.split()),
                    hint="mend that and run it again; a worker makes tables that are missing",
                ) from error
            raise ConfigurationError(
                "database.url",
                expected=f"an answer of {url}",
                found=str(transient_error(error)),
                hint="start it, or correct the setting",
            ) from error


def as_fields(plugin: str, difference: Difference) -> dict[str, Any]:
    """A difference for a script."""
    hostname, start, metric = difference.key
    return {
        "plugin": plugin,
        "host": hostname,
        "metric": metric,
        "bucket_start": rfc3339(start),
        "stored": _statistics(difference.stored),
        "computed": _statistics(difference.computed),
    }


def as_line(plugin: str, difference: Difference) -> str:
    """A difference for a person."""
    hostname, start, metric = difference.key

    def words(statistics: Statistics | None) -> str:
        if not statistics:
            return "nothing"
        s = statistics
        return f"count {s.count} sum {s.sum:g} min {s.minimum:g} max {s.maximum:g} last {s.last:g}"

    place = f"{plugin} {hostname!r} {metric!r} {rfc3339(start)}"
    return f"{place}: stored {words(difference.stored)}; raw rows give {words(difference.computed)}"


def _statistics(statistics: Statistics | None) -> dict[str, Any] | None:
    if not statistics:
        return None
    return {name: getattr(statistics, name) for name in ("count", "sum", "minimum", "maximum", "last")}
