"""``faust -A sparkle_app import``: stores the rows of files that ``export`` has written."""

from typing import Any

from faust.cli.base import argument

from sparkle_app.cli.base import JSON, TEXT, counted
from sparkle_app.cli.database import DatabaseCommand
from sparkle_app.model.errors import ConfigurationError
from sparkle_app.runtime.terminal import printable
from sparkle_app.storage.migrations.migration import create_tables
from sparkle_app.transfer.importing import Importer, read_file
from sparkle_app.transfer.layouts import READINGS


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
        bucket_size = self.handler.settings.aggregates.bucket_seconds
        report: list[dict[str, Any]] = []
        rebuild = (
            f"run `faust -A sparkle_app rebuild --plugin {installed.name}` to aggregate the inserted readings"
        )
        hint: str | None = None
        for name in files:
            try:
                with open(name, "rb") as file:
                    source = read_file(file, name, installed.name, installed.plugin)
                    importer = Importer(installed.name, installed.plugin, engine, bucket_size)
                    read = inserted = 0
                    with self.progress(source.size, name) as progress:
                        for rows, stored in importer.store(source):
                            read += rows
                            inserted += stored
                            progress.update(source.position() - progress.pos)
            except OSError as error:
                raise ConfigurationError(
                    name, expected="a file", found=error.strerror or str(error), hint="correct the name"
                ) from error
            what = source.layout.what
            own_hint = rebuild if what == READINGS and inserted else None
            hint = hint or own_hint
            expired = importer.expired
            known = read - inserted - expired
            numbers = {"read": read, "inserted": inserted, "known": known, "expired": expired}
            report.append({"file": printable(name), "what": what, **numbers, "hint": own_hint})
            if not as_json:
                rest = f", {expired} not stored: older than the retention period" if expired else ""
                self.say(f"{name}: {counted(read, what[:-1])} read, {inserted} inserted, {known} known{rest}")
        if as_json:
            self.say_json(report)
        elif hint:
            self.say(hint)
        return 0
