"""``faust -A sparkle_app rebuild``: recomputes aggregates that differ from the stored readings."""

from typing import Any

from sparkle_app.cli.audit import SCOPE, AuditCommand
from sparkle_app.cli.options import JSON
from sparkle_app.runtime.terminal import counted


class rebuild(AuditCommand):
    """Recompute aggregates that differ from the stored readings.

    Hourly and daily aggregates are repaired as well: from readings or, where these have expired, from finer aggregates.
    What retention has deleted is not stored again.

    Workers may keep running. The command commits chunk by chunk: it can be interrupted and run again. An aggregate
    without any stored readings is left unchanged and counted in the report; if only some of its readings were deleted,
    it is recomputed from the rest.

    Example: faust -A sparkle_app rebuild --plugin Temperature --host host-1
    """

    options = [*SCOPE, JSON]  # noqa: RUF012 - as Faust declares it

    async def run(self, **options: Any) -> int:
        """Print a line per plugin."""
        return self.in_database(lambda: self._rebuild(**options))

    def _rebuild(self, *, plugin: str | None, as_json: bool, **scope: Any) -> int:
        report: list[dict[str, Any]] = []
        for name, auditor in self.auditors(plugin, scope["host"]).items():
            repaired = unchanged = reduced = readings = 0
            for result in self.results(name, auditor, **scope):
                readings += result.readings
                repaired += auditor.repair(result)
                unchanged += sum(each.without_readings for each in result.differences)
                reduced += sum(each.shrinking for each in result.differences)
            report.append(
                {"plugin": name, "readings": readings, "made_anew": repaired, "without_raw_rows": unchanged}
            )
            if as_json:
                continue
            rest = f"; {unchanged} without stored readings left unchanged" if unchanged else ""
            rest += f"; {reduced} had counted more readings than are stored" if reduced else ""
            self.say(
                f"{name}: {counted(readings, 'reading')}, {counted(repaired, 'aggregate')} recomputed{rest}"
            )
        if as_json:
            self.say_json(report)
        return 0
