"""``faust -A sparkle_app export``: writes stored readings or aggregates to a CSV or Parquet file."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import click
from faust.cli.base import argument, option

from sparkle_app.cli.base import UsageError
from sparkle_app.cli.database import DatabaseCommand, time_range
from sparkle_app.cli.options import JSON, TEXT, Instant
from sparkle_app.model.errors import ConfigurationError
from sparkle_app.model.retention import DAY, READINGS
from sparkle_app.model.time import EARLIEST, LATEST, rfc3339
from sparkle_app.plugin.discovery import InstalledPlugin
from sparkle_app.runtime.folders import complete_file
from sparkle_app.runtime.terminal import counted, printable
from sparkle_app.storage.engine import read_transaction
from sparkle_app.storage.retention import watermarks
from sparkle_app.transfer.csv_files import CsvWriter
from sparkle_app.transfer.layouts import Layout, Rows, layouts
from sparkle_app.transfer.pages import AggregatePages, ReadingPages
from sparkle_app.transfer.parquet_files import ParquetWriter

CSV, PARQUET = "csv", "parquet"
Pages = ReadingPages | AggregatePages


class export(DatabaseCommand):
    """Write stored readings or aggregates of a plugin to a file, as CSV or Parquet.

    Without --output, CSV is written to standard output. Workers may keep running: what they store meanwhile may be in
    the file or not. Standard error shows the start of the retention period, if the time range begins before it. The
    command `import` reads the file.

    Examples: faust -A sparkle_app export Temperature --since 2026-11-01 --output november.parquet

    faust -A sparkle_app export Temperature --host web-1 | gzip > web-1.csv.gz
    """

    options = [  # noqa: RUF012 - as Faust declares it
        argument("plugin", type=TEXT, metavar="PLUGIN"),
        option(
            "--what",
            type=click.Choice([each.value for each in Rows]),
            default=Rows.READINGS.value,
            show_default=True,
            help="what to export",
        ),
        option("--host", "hosts", type=TEXT, multiple=True, help="only this host; may be repeated"),
        option("--since", type=Instant(), help="start of the time range, such as 2026-11-23T12:00:00Z"),
        option("--until", type=Instant(), help="end of the time range, exclusive"),
        option(
            "--resolution",
            type=click.IntRange(1, DAY),
            help="bucket size of the aggregates in seconds  [default: aggregates.bucket_seconds]",
        ),
        option(
            "--format",
            "format_",
            type=click.Choice([CSV, PARQUET]),
            help="format of the file  [default: parquet if its name ends in .parquet, else csv]",
        ),
        option(
            "--output",
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="file to create; it appears under its name when it is complete",
        ),
        JSON,
    ]

    async def run(self, **options: Any) -> int:
        """Write the file, and print the number of rows."""
        return self.in_database(lambda: self._export(**options))

    def _export(
        self,
        *,
        plugin: str,
        what: str,
        format_: str | None,
        output: Path | None,
        as_json: bool,
        **selection: Any,
    ) -> int:
        if output is None and (format_ == PARQUET or as_json):
            raise UsageError(
                "--output",
                expected=f"a file, because of {'--json' if as_json else '--format parquet'}",
                found="none",
                hint="add --output FILE",
            )
        if output is None and not sys.stdout:
            raise UsageError(
                "standard output", expected="an open file", found="a closed one", hint="add --output FILE"
            )
        # A symbolic link that leads nowhere is a file as well. A name that is too long raises nothing here.
        if output is not None and os.path.lexists(output):
            raise UsageError(
                "--output", expected="a new file", found=str(output), hint="move it, or choose another"
            )
        installed = self.installed_plugin(plugin)
        layout = layouts(installed.name, installed.plugin)[what]
        pages = self._pages(installed, what, **selection)
        if output is None:
            # A terminal must not interpret control characters; in a pipe, the output is exact.
            shown = sys.stdout.isatty()
            file = cast(BinaryIO, _Terminal()) if shown else sys.stdout.buffer
            with self.closed_output():
                self._write_rows(pages, layout, CsvWriter(file, layout), "" if shown else installed.name)
            return 0
        as_parquet = (format_ or output.suffix.lower().removeprefix(".")) == PARQUET
        with _file_errors(str(output)), complete_file(output) as file:
            writer = ParquetWriter(file, layout, installed.name) if as_parquet else CsvWriter(file, layout)
            rows = self._write_rows(pages, layout, writer, installed.name)
        if as_json:
            self.say_json(
                {"plugin": installed.name, "what": what, "file": printable(str(output)), "rows": rows}
            )
        else:
            self.say(f"{installed.name}: {counted(rows, what[:-1])} written to {output}")
        return 0

    def _write_rows(self, pages: Pages, layout: Layout, writer: CsvWriter | ParquetWriter, label: str) -> int:
        """Write all rows, with a progress bar if it has a label; returns their number."""
        rows = 0
        with self.progress(pages.rows, label, hidden=not label) as progress:
            for page in pages:
                if page:
                    writer.write([layout.row_of(each) for each in page])
                rows += len(page)
                progress.update(len(page))
        writer.close()
        return rows

    def _pages(
        self,
        installed: InstalledPlugin,
        what: str,
        hosts: tuple[str, ...],
        since: int | None,
        until: int | None,
        resolution: int | None,
    ) -> Pages:
        start, end = time_range(since, until)
        settings = self.handler.settings
        engine = self.current_engine()
        bucket_size = settings.aggregates.bucket_seconds
        with read_transaction(engine) as connection:
            marks = watermarks(connection, installed.name, bucket_size)
        kept_since = marks[READINGS if what == Rows.READINGS else resolution or bucket_size].kept_since
        if start < kept_since:
            self.error(
                f"{installed.name}: {what} are kept since {rfc3339(kept_since)}; earlier ones have expired"
            )

        def pages(hosts: tuple[str, ...], start: int, end: int) -> Pages:
            if what == Rows.READINGS:
                return ReadingPages(installed.plugin, engine, hosts, start, end)
            return AggregatePages(installed.plugin, engine, resolution or bucket_size, hosts, start, end)

        selected = pages(hosts, start, end)
        for host in hosts:
            if host not in selected.hosts and not pages((host,), EARLIEST, LATEST).rows:
                raise UsageError(
                    "--host",
                    expected=f"a host with {what} of {installed.name}",
                    found=host,
                    hint="use the hostname that its records carry",
                )
        return selected


@contextmanager
def _file_errors(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigurationError(
            name,
            expected="a file to write to",
            found=error.strerror or str(error),
            hint="free disk space, or choose another",
        ) from error


class _Terminal:
    """Standard output, with text that a terminal does not interpret."""

    @staticmethod
    def write(data: bytes) -> None:
        sys.stdout.write(printable(data.decode(), keep="\r\n"))

    @staticmethod
    def flush() -> None:
        sys.stdout.flush()
