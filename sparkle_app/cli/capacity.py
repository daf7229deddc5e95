"""``faust -A sparkle_app capacity``: estimates the cores, memory and disk that a fleet needs."""

import click
from faust.cli.base import option

from sparkle_app.capacity.estimate import Fleet, Machine, estimate
from sparkle_app.capacity.figures import figures
from sparkle_app.capacity.table import table
from sparkle_app.cli.base import SparkleCommand
from sparkle_app.cli.options import JSON
from sparkle_app.runtime.terminal import counted

_POSITIVE = click.IntRange(1, 10**12)


class capacity(SparkleCommand):
    """Estimate the cores, memory and disk that a fleet needs, with each database.

    The database is as large as the settings of retention let it become in --days. The figures were measured by the
    benchmarks; another processor needs more or less. "bottleneck" says which
    of --cores, --memory, --disk, broker.partitions and SQLite's single writer is used up first, and how much of it is
    needed.

    Example: faust -A sparkle_app capacity --hosts 10000 --metrics 16 --interval 300
    """

    options = [  # noqa: RUF012 - as Faust declares it
        option("--hosts", type=_POSITIVE, required=True, help="number of hosts"),
        option("--metrics", type=_POSITIVE, default=16, show_default=True, help="metrics of each host"),
        option(
            "--interval", type=_POSITIVE, default=300, show_default=True, help="seconds between two readings"
        ),
        option("--days", type=_POSITIVE, default=365, show_default=True, help="days of operation"),
        option(
            "--cores", type=_POSITIVE, default=8, show_default=True, help="total number of processor cores"
        ),
        option("--memory", type=_POSITIVE, default=32, show_default=True, help="memory for workers, in GB"),
        option("--disk", type=_POSITIVE, default=1000, show_default=True, help="disk space, in GB"),
        JSON,
    ]

    async def run(
        self,
        *,
        hosts: int,
        metrics: int,
        interval: int,
        days: int,
        cores: int,
        memory: int,
        disk: int,
        as_json: bool,
    ) -> int:
        """Print a table."""
        settings = self.handler.settings
        fleet = Fleet(
            hosts,
            metrics,
            interval,
            days,
            settings.retention.of(""),
            settings.aggregates.bucket_seconds,
            settings.aggregates.window_retention_seconds,
        )
        machine = Machine(cores, memory * 1e9, disk * 1e9, settings.broker.partitions)
        measured = figures()
        if as_json:
            found = {name: estimate(measured, name, fleet, machine) for name in measured.databases}
            self.say_json({"fleet": fleet, "machine": machine, "measured": measured, "estimates": found})
            return 0
        self.say(f"{counted(hosts, 'host')} with {counted(metrics, 'metric')} every {interval} s")
        rows = table(measured, fleet, machine)
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            self.say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        self.say(
            f"measured {measured.measured} on {measured.processor}, {measured.rsa_seconds * 1e6:.0f} µs for an RSA"
            " operation; see docs/capacity.md"
        )
        return 0
