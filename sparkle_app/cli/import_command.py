"""``faust -A sparkle_app import``: stores the rows of files that ``export`` has written."""

from typing import Any

from faust.cli.base import argument
from sqlalchemy import Engine

from sparkle_app.cli.database import DatabaseCommand
from sparkle_app.cli.options import JSON, TEXT
from sparkle_app.model.errors import ConfigurationError
from sparkle_app.plugin.discovery import InstalledPlugin
from sparkle_app.runtime.terminal import counted, printable
from sparkle_app.storage.migrations.migration import create_tables
from sparkle_app.transfer.importing import Importer, read_file
from sparkle_app.transfer.layouts import Rows


# Click drops "_command" from the name.
class import_command(DatabaseCommand):
    """Store the rows of files that `export` has written, CSV or Parquet.

    What is stored already remains: readings are recognized by their ids, and an aggregate is replaced only by one that
    has counted more readings. Rows that are older than the retention period are not stored. So the command can be
    interrupted and run again. The columns of a file say whether it holds readings or aggregates. Imported readings are
    not aggregated; `rebuild` does it. Hourly and daily aggregates are recomputed from imported finer ones.

    Example: faust -A sparkle_app import Temperature november.parquet december.csv
    """

    options = [  # noqa: RUF012 - as Faust declares it
        argument("plugin", type=TEXT, metavar="PLUGIN"),
        argument("files", nargs=-1, required=True, metavar="FILE..."),
        JSON,
    ]

    async def run(self, **options: Any) -> int:
        """Print a line per file."""
        return self.in_database(lambda: self._import(**options))

    def _import(self, *, plugin: str, files: tuple[str, ...], as_json: bool) -> int:
        installed = self.installed_plugin(plugin)
        engine = self.engine()
        create_tables(engine, self.handler.plugins.branches)
        report: list[dict[str, Any]] = []
        try:
            for name in files:
                self._import_file(name, installed, engine, report, as_json)
        finally:
            # What was stored before an error remains.
            hint = next((each["hint"] for each in report if each["hint"]), None)
            if as_json:
                self.say_json(report)
            elif hint:
                self.say(hint)
        return 0

    def _import_file(
        self,
        name: str,
        installed: InstalledPlugin,
        engine: Engine,
        report: list[dict[str, Any]],
        as_json: bool,
    ) -> None:
        """Store the rows of a file, and add to the report what was stored, also before an error."""
        bucket_size = self.handler.settings.aggregates.bucket_seconds
        importer = Importer(installed.name, installed.plugin, engine, bucket_size)
        read = inserted = 0
        what: str | None = None
        try:
            with open(name, "rb") as file:
                source = read_file(file, name, installed.name, installed.plugin)
                what = source.layout.what
                with self.progress(source.size, name) as progress:
                    for rows, stored in importer.store(source):
                        read += rows
                        inserted += stored
                        progress.update(source.position() - progress.pos)
        except OSError as error:
            raise ConfigurationError(
                name, expected="a file", found=error.strerror or str(error), hint="correct the name"
            ) from error
        finally:
            if what is not None:
                report.append(_entry(installed.name, name, what, read, inserted, importer.expired))
                if not as_json:
                    self.say(_line(name, report[-1]))


def _entry(plugin: str, name: str, what: str, read: int, inserted: int, expired: int) -> dict[str, Any]:
    # Known ones, too: the command may have been interrupted, or run before.
    hint = (
        f"run `faust -A sparkle_app rebuild --plugin {plugin}` to aggregate the imported readings"
        if what == Rows.READINGS and read > expired
        else None
    )
    numbers = {"read": read, "inserted": inserted, "known": read - inserted - expired, "expired": expired}
    return {"file": printable(name), "what": what, **numbers, "hint": hint}


def _line(name: str, entry: dict[str, Any]) -> str:
    expired = entry["expired"]
    rest = f", {expired} not stored: older than the retention period" if expired else ""
    read = counted(entry["read"], entry["what"][:-1])
    return f"{name}: {read} read, {entry['inserted']} inserted, {entry['known']} known{rest}"
