"""``faust -A sparkle_app rebuild``: aggregates in SQL made anew from the raw rows where they differ."""

from typing import Any

import msgspec

from sparkle_app.cli.audit import SCOPE, AuditCommand
from sparkle_app.cli.base import JSON


class rebuild(AuditCommand):
    """Mend aggregates in SQL that differ from what the raw rows give; workers may run.

    Each page of some hosts is one transaction: it can be interrupted and repeated. Aggregates whose raw rows are all
    gone are left as they are, and counted; where some are left, the aggregate is made anew from those.

    Example: faust -A sparkle_app rebuild --plugin Temperature --host host-1
    """

    options = [*SCOPE, JSON]  # noqa: RUF012 - as Faust declares it

    async def run(self, **options: Any) -> int:
        """Print a line for each plugin."""
        return self.in_database(lambda: self._rebuild(**options))

    def _rebuild(self, *, plugin: str | None, as_json: bool, **scope: Any) -> int:
        report: list[dict[str, Any]] = []
        for name, auditor in self.auditors(plugin, scope["host"]).items():
            repaired = left = readings = 0
            for result in self.results(name, auditor, **scope):
                readings += result.readings
                repaired += auditor.repair(result)
                left += sum(each.computed is None for each in result.differences)
            report.append(
                {"plugin": name, "readings": readings, "made_anew": repaired, "without_raw_rows": left}
            )
            if as_json:
                continue
            told = f"; {left} without raw rows were left as they are" if left else ""
            self.say(f"{name}: {readings} readings, {repaired} aggregates made anew{told}")
        if as_json:
            self.say(msgspec.json.encode(report).decode())
        return 0
