"""``faust -A sparkle_app verify``: compares the aggregates in SQL with the stored readings."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import click
from faust.cli.base import option

from sparkle_app.audit.confirmation import confirmed
from sparkle_app.audit.differences import Difference
from sparkle_app.cli.audit import SCOPE, AuditCommand, as_fields, as_line, by_resolution, not_verifiable
from sparkle_app.cli.options import JSON
from sparkle_app.runtime.terminal import counted

_LIMIT = 20
_MAX_RECHECKED = 100_000
"""Per plugin, of a kilobyte each. Workers that count many hosts can be about to resolve some ten thousand."""


class verify(AuditCommand):
    """Compare the aggregates in SQL with the stored readings.

    Hourly and daily aggregates whose readings have expired are compared with the finer aggregates that they were
    computed from. Where these have expired as well, aggregates are counted as not verifiable.

    The exit code is 1 if any differs. Workers may keep running: the command waits for aggregates that are behind their
    readings, until none of them has changed for 30 seconds.

    Example: faust -A sparkle_app verify --plugin Temperature --since 2026-11-23
    """

    options = [  # noqa: RUF012 - as Faust declares it
        *SCOPE,
        option(
            "--limit",
            type=click.IntRange(0, 2**31 - 1),
            help=f"maximum number of differences to print per plugin  [default: {_LIMIT}]",
        ),
        option("--most", type=click.IntRange(0, 2**31 - 1), hidden=True),
        JSON,
    ]

    async def run(self, *, limit: int | None, most: int | None, **options: Any) -> int:
        """Print the differences and a summary line per plugin."""
        if most is not None:
            self.error("--most is deprecated: use --limit")
        limits = [each for each in (limit, most) if each is not None]
        return self.in_database(lambda: self._verify(limit=limits[0] if limits else _LIMIT, **options))

    def _verify(self, *, plugin: str | None, limit: int, as_json: bool, **scope: Any) -> int:
        report: list[dict[str, Any]] = []
        found: list[Difference] = []
        all_unchecked = 0
        for name, auditor in self.auditors(plugin, scope["host"]).items():
            readings = aggregates = kept = unchecked = 0
            unverified: Counter[int] = Counter()
            suspects: list[Sequence[Difference]] = []
            for result in self.results(name, auditor, **scope):
                readings += result.readings
                aggregates += result.aggregates
                unverified += by_resolution(result.not_verifiable)
                suspects.append(result.differences[: _MAX_RECHECKED - kept])
                kept += len(suspects[-1])
                unchecked += len(result.differences) - len(suspects[-1])
            if kept:
                self.note(
                    f"{name}: checking {counted(kept, 'difference')} again, in case workers are about to resolve them"
                )
            differences = confirmed(auditor, suspects)
            found += differences
            all_unchecked += unchecked
            if as_json:
                report.append(
                    {
                        "plugin": name,
                        "readings": readings,
                        "aggregates": aggregates,
                        "not_verifiable": unverified.total(),
                        "differences": [as_fields(name, each) for each in differences],
                        "not_rechecked": unchecked,
                    }
                )
                continue
            for difference in differences[:limit]:
                self.say(as_line(name, difference))
            if len(differences) > limit:
                self.say(f"{name}: {len(differences) - limit} more; use --json for all")
            self.say(
                f"{name}: {counted(readings, 'reading')}, {counted(aggregates, 'aggregate')},"
                f" {counted(len(differences), 'difference')}"
            )
            if unchecked:
                self.say(
                    f"{name}: {counted(unchecked, 'further difference')} not checked again and not listed: workers may"
                    " be about to resolve some; run verify again, with --since or --host"
                )
            if unverified:
                self.say(not_verifiable(name, unverified))
        if as_json:
            self.say_json(report)
        else:
            for hint in _hints(found):
                self.say(hint)
        return 1 if found or all_unchecked else 0


def _hints(differences: Sequence[Difference]) -> Iterator[str]:
    """What ``rebuild`` would do about the differences."""
    without = sum(each.without_readings for each in differences)
    shrinking = [each for each in differences if each.shrinking]
    if repairable := len(differences) - without - len(shrinking):
        yield f"run `faust -A sparkle_app rebuild` to repair {counted(repairable, 'difference')}"
    if without:
        yield (
            f"{counted(without, 'aggregate')} without stored readings: they were deleted;"
            " `rebuild` leaves such aggregates unchanged"
        )
    if shrinking:
        before, after = (
            sum(each.count for each in statistics if each)
            for statistics in zip(*((each.stored, each.computed) for each in shrinking), strict=True)
        )
        yield (
            f"{counted(len(shrinking), 'aggregate')} with more readings than are stored, {before} instead of {after}:"
            " some were deleted, or the aggregate is wrong; `rebuild` would recompute from those that are left, and the"
            " others would no longer count"
        )
