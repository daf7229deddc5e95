"""``faust -A sparkle_app retain``: computes hourly and daily aggregates, and deletes expired rows."""

import sys
import time
from collections.abc import Mapping
from typing import Any

from faust.cli.base import option

from sparkle_app.cli.base import UsageError
from sparkle_app.cli.database import DatabaseCommand
from sparkle_app.cli.options import JSON, TEXT
from sparkle_app.model.retention import READINGS
from sparkle_app.model.time import from_seconds, rfc3339
from sparkle_app.retention.retainer import Expiry, Retainer, retainers
from sparkle_app.retention.steps import Action
from sparkle_app.runtime.terminal import counted, printable
from sparkle_app.storage.engine import space_warning


class retain(DatabaseCommand):
    """Compute hourly and daily aggregates, and delete expired rows, as workers do every few minutes.

    How long rows are kept is set in the section retention of the settings. Workers may keep running. The command can be
    interrupted, and run again. The exit code is 1 if the database reports an error.

    Example: faust -A sparkle_app retain --dry-run
    """

    options = [  # noqa: RUF012 - as Faust declares it
        option("--plugin", type=TEXT, help="only rows of this plugin"),
        option("--dry-run", is_flag=True, help="only print what would be deleted"),
        JSON,
    ]

    async def run(self, **options: Any) -> int:
        """Print a line per plugin and resolution, or per plugin."""
        return self.in_database(lambda: self._retain(**options))

    def _retain(self, *, plugin: str | None, dry_run: bool, as_json: bool) -> int:
        installed = self.handler.plugins.by_name
        if plugin is not None and plugin not in installed:
            raise UsageError(
                "--plugin",
                expected=f"one of {', '.join(installed)}",
                found=printable(plugin),
                hint="run check to see why a plugin is not installed",
            )
        engine = self.current_engine()
        if plugin is None:
            self.warn_of_plugins()
        selected = {
            name: retainer
            for name, retainer in retainers(self.handler.settings, installed, engine).items()
            if plugin in (None, name)
        }
        now = from_seconds(time.time())
        report = [
            self._plan(name, retainer, now, as_json) if dry_run else self._apply(name, retainer, now, as_json)
            for name, retainer in selected.items()
        ]
        if as_json:
            self.say_json(report)
        elif not dry_run and (warning := space_warning(engine)):
            self.error(warning)
        return 0

    def _plan(self, name: str, retainer: Retainer, now: int, as_json: bool) -> Mapping[str, Any]:
        found = list(retainer.expiring(now))
        if not as_json:
            for each in found:
                self.say(f"{name}: would delete {_rows(each)} before {rfc3339(each.before)}")
            if not found:
                self.say(f"{name}: nothing expires")
            self._say_kept(name, retainer)
        return {
            "plugin": name,
            "deleted": False,
            "expired": [
                {"resolution": each.resolution, "before": rfc3339(each.before), "rows": each.rows}
                for each in found
            ],
        }

    def _apply(self, name: str, retainer: Retainer, now: int, as_json: bool) -> Mapping[str, Any]:
        rows = dict.fromkeys(Action, 0)
        length = sum(each.rows or 0 for each in retainer.expiring(now)) if sys.stderr.isatty() else 0
        with self.progress(length, name) as progress:
            for step in retainer.run(now):
                rows[step.action] += step.rows
                if step.action is Action.DELETE:
                    progress.update(step.rows)
                time.sleep(step.pause)
        if not as_json:
            merged, deleted = counted(rows[Action.MERGE], "aggregate"), counted(rows[Action.DELETE], "row")
            self.say(f"{name}: {merged} merged, {deleted} deleted")
            self._say_kept(name, retainer)
        return {"plugin": name, "merged": rows[Action.MERGE], "deleted": rows[Action.DELETE]}

    def _say_kept(self, name: str, retainer: Retainer) -> None:
        for kept in retainer.keeps_its_own():
            self.say(
                f"{name}: {kept} are kept forever: the plugin stores them itself, without a method expire_{kept}"
            )


def _rows(expiry: Expiry) -> str:
    kind = {READINGS: "readings"}.get(expiry.resolution, f"aggregates of {expiry.resolution} s")
    return f"{'all' if expiry.rows is None else expiry.rows} {kind}"
