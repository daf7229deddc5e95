"""Series over HTTP, of aggregates of several resolutions."""

import msgspec

from sparkle_app.model.buckets import AggregateRow, Statistics
from sparkle_app.model.retention import Retention
from sparkle_app.model.time import rfc3339
from sparkle_app.plugin.history import load_columns, load_steps
from sparkle_app.retention.retainer import Retainer
from sparkle_app.storage.resolutions import Coverage
from tests.support.cluster import PLUGIN, InProcessWorker
from tests.support.database import EVERY_DATABASE
from tests.support.history import DAY, HOUR, START, aggregates, by_metric, expected


def with_hours(rows: list[AggregateRow], start: int, end: int) -> list[AggregateRow]:
    """The aggregates of whole hours, of those of minutes that begin between start and end."""
    hours: dict[tuple[str, str, int], Statistics] = {}
    for row in rows:
        if row.resolution == 60 and start <= row.bucket_start < end:
            key = row.hostname, row.metric, row.bucket_start // HOUR * HOUR
            if key in hours:
                hours[key].merge(row.statistics)
            else:
                hours[key] = msgspec.structs.replace(row.statistics)
    return [
        AggregateRow(host, metric, 3600, at, statistics) for (host, metric, at), statistics in hours.items()
    ]


@EVERY_DATABASE
async def test_what_coarser_aggregates_have_is_read_from_them_and_the_rest_from_finer_ones(
    worker: InProcessWorker,
) -> None:
    plugin = worker.app.plugins.installed[PLUGIN].plugin
    minutes = aggregates()
    # Hours exist from half past twelve on the first day until noon of the last; minutes only from then on.
    begin, end = START + 12 * HOUR + HOUR // 2, START + 2 * DAY + 12 * HOUR
    hours = with_hours(minutes, begin + HOUR // 2, end)
    kept = [row for row in minutes if not begin + HOUR // 2 <= row.bucket_start < end]
    with worker.engine.begin() as connection:
        plugin.store_aggregates(connection, kept + hours)
        for step in (60, 1800, 3600, 2 * 3600, 86_400):
            stored = [Coverage(60, START, START + 3 * DAY), Coverage(3600, begin, end)]
            found = load_steps(
                plugin, connection, "web-1", ["core/0", "ядро"], stored, START, START + 3 * DAY, step, 10_000
            )
            expected_rows = minutes if step % 3600 == 0 else kept
            assert by_metric(found) == {
                metric: points
                for metric, points in expected(expected_rows, step, START + 3 * DAY).items()
                if metric != "core/1"
            }
            columns = load_columns(
                plugin, connection, "web-1", ["core/0", "ядро"], stored, START, START + 3 * DAY, step, 10_000
            )
            for metric, points in expected(expected_rows, step, START + 3 * DAY).items():
                if metric != "core/1":
                    assert [rfc3339(at * 1_000_000) for at in columns[metric].at] == [p["at"] for p in points]
                    assert columns[metric].average == [p["average"] for p in points]
                    assert columns[metric].maximum == [p["maximum"] for p in points]


@EVERY_DATABASE
async def test_what_has_expired_is_read_from_hours_and_days(worker: InProcessWorker) -> None:
    plugin = worker.app.plugins.installed[PLUGIN].plugin
    rows = aggregates()
    with worker.engine.begin() as connection:
        plugin.store_aggregates(connection, rows)
    kept = Retention(None, 86_400, 2 * 86_400, None)
    list(Retainer(PLUGIN, plugin, worker.engine, 60, kept).run(START + 3 * DAY + HOUR))
    path = f"/api/v1/plugins/{PLUGIN}/hosts/web-1/series?from=2026-11-23&to=2026-11-26"
    for step in (86_400, 2 * 86_400):
        status, body = await worker.get(f"{path}&step={step}")
        assert (status, body["series"]) == (200, expected(rows, step, START + 4 * DAY))
    # Days for ever, hours since the 24th, minutes since the 25th.
    status, problem = await worker.get(f"{path}&step=1h")
    assert (status, problem["detail"]) == (
        400,
        "step: expected a multiple of 86400 s, as aggregates of 60 s are kept since 2026-11-25T00:00:00Z, found 3600",
    )
    status, body = await worker.get(path)
    assert (status, body["step_seconds"]) == (200, 86_400)
    path = path.replace("11-23", "11-24").replace("/series", "/columns")
    status, body = await worker.get(f"{path}&points=1000")
    assert (status, body["step_seconds"]) == (200, 3600)
    assert body["sources"] == [
        {"resolution_seconds": 3600, "from": "2026-11-24T00:00:00Z", "to": "2026-11-26T00:00:00Z"}
    ]
    status, body = await worker.get(path.replace("11-24", "11-25"))
    assert (status, body["step_seconds"]) == (200, 60)
