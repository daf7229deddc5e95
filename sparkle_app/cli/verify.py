"""``faust -A sparkle_app verify``: do the aggregates in SQL equal what the raw rows give?"""

from collections.abc import Sequence
from typing import Any

import click
import msgspec
from faust.cli.base import option

from sparkle_app.audit.auditor import Difference
from sparkle_app.audit.confirmation import confirmed
from sparkle_app.cli.audit import SCOPE, AuditCommand, as_fields, as_line
from sparkle_app.cli.base import JSON


class verify(AuditCommand):
    """Compare the aggregates in SQL with the raw rows; exit code 1 when any differs.

    Workers may run: what they are about to aggregate is waited for, until for 30 s nothing of it has come.

    Example: faust -A sparkle_app verify --plugin Temperature --since 2026-11-23
    """

    options = [  # noqa: RUF012 - as Faust declares it
        *SCOPE,
        option(
            "--most",
            type=click.IntRange(min=0),
            default=20,
            help="so many differences of each plugin are printed",
        ),
        JSON,
    ]

    async def run(self, **options: Any) -> int:
        """Print a line for each plugin, and its differences."""
        return self.in_database(lambda: self._verify(**options))

    def _verify(self, *, plugin: str | None, most: int, as_json: bool, **scope: Any) -> int:
        report: list[dict[str, Any]] = []
        found = 0
        for name, auditor in self.auditors(plugin, scope["host"]).items():
            readings = aggregates = 0
            suspects: list[Sequence[Difference]] = []
            for result in self.results(name, auditor, **scope):
                readings += result.readings
                aggregates += result.aggregates
                suspects.append(result.differences)
            if number := sum(map(len, suspects)):
                self.note(f"{name}: looking again at {number} differences, which workers may yet mend")
            differences = confirmed(auditor, suspects)
            found += len(differences)
            report.append(
                {
                    "plugin": name,
                    "readings": readings,
                    "aggregates": aggregates,
                    "differences": [as_fields(name, each) for each in differences],
                }
            )
            if as_json:
                continue
            for difference in differences[:most]:
                self.say(as_line(name, difference))
            if len(differences) > most:
                self.say(f"{name}: and {len(differences) - most} more; --json has them all")
            self.say(f"{name}: {readings} readings, {aggregates} aggregates, {len(differences)} differences")
        if as_json:
            self.say(msgspec.json.encode(report).decode())
        elif found:
            self.say("`faust -A sparkle_app rebuild` mends them")
        return 1 if found else 0
