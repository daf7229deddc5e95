"""History as CSV over HTTP: the rows of the JSON answer, in the columns of an export."""

import csv
import io
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import pytest
from multidict import CIMultiDictProxy
from openapi_spec_validator import validate
from yarl import URL

from sparkle_app.model.buckets import AggregateRow, Statistics
from sparkle_app.model.time import micros
from sparkle_app.transfer.importing import Importer, read_file
from tests.support.cluster import PLUGIN, InProcessWorker
from tests.support.database import of_series, query
from tests.support.rows import store

BEGIN = datetime(2026, 11, 23, tzinfo=UTC)
START, MINUTE = micros(BEGIN), 60_000_000
HOST = '=a/"b"\r\nяд'
API = f"/api/v1/plugins/{PLUGIN}/hosts"
PATH = f"{API}/{quote(HOST, safe='')}"
DAY = "from=2026-11-23&to=2026-11-24"


@pytest.fixture
async def worker(tmp_path: Path, database_url: str) -> AsyncIterator[InProcessWorker]:
    rows = [(HOST, "-core/0", 1.0 + n / 3, BEGIN + timedelta(seconds=n)) for n in range(25)]
    store(database_url, [*rows, ("other", "core/0", 1.0, BEGIN)])
    worker = InProcessWorker(tmp_path / "worker", f"database: {{url: '{database_url}'}}")
    await worker.start()
    with worker.engine.begin() as connection:
        worker.app.plugins.installed[PLUGIN].plugin.store_aggregates(connection, list(aggregates()))
    yield worker
    await worker.stop()


def aggregates() -> Iterator[AggregateRow]:
    for metric in ("b", "-a"):
        for n in range(4):
            at = START + n * MINUTE
            low, high = sorted((0.5, float(n)))
            yield AggregateRow(HOST, metric, 60, at, Statistics(2, low + high, low, high, float(n), at + 1))


async def get(
    worker: InProcessWorker, path: str, accept: str = "text/csv"
) -> tuple[int, CIMultiDictProxy[str], bytes]:
    url = URL(f"{worker.url}{path}", encoded=True)
    async with worker.http.get(url, headers={"Accept": accept}) as response:
        return response.status, response.headers, await response.read()


def parsed(body: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(body.decode(), newline="")))


async def test_readings_come_page_by_page_and_can_be_imported(
    worker: InProcessWorker, tmp_path: Path, database_url: str
) -> None:
    file = tmp_path / "pages.csv"
    path, sizes = f"{PATH}/readings?{DAY}&limit=10", []
    while True:
        status, headers, body = await get(worker, path)
        assert status == 200
        assert headers["Content-Type"] == "text/csv; charset=utf-8; header=present"
        assert (headers["Vary"], headers["Cache-Control"]) == ("Accept", "no-store")
        assert headers["Content-Disposition"] == ('attachment; filename="Temperature-_a_b_-readings.csv"')
        header, *rows = parsed(body)
        sizes.append(len(rows))
        assert {row[2] for row in rows} == {f"'{HOST}"}
        assert {row[3] for row in rows} == {"'-core/0"}
        with file.open("ab") as pages:
            pages.write(body if len(sizes) == 1 else body.partition(b"\r\n")[2])
        if "Link" not in headers:
            break
        link, _, relation = headers["Link"].partition(">; ")
        assert relation == 'rel="next"'
        path = link.removeprefix("<")
        assert path.startswith(f"{API}/")
    assert sizes == [10, 10, 5]
    stored = "SELECT * FROM temperature_readings WHERE hostname <> 'other'"
    before = query(database_url, f"{stored} ORDER BY observed_at")
    assert header == list(before[0])
    plugin = worker.app.plugins.installed[PLUGIN].plugin
    with worker.engine.begin() as connection:
        connection.exec_driver_sql(
            "DELETE FROM temperature_readings_data WHERE " + of_series("hostname <> 'other'")
        )
    with file.open("rb") as source:
        importer = Importer(PLUGIN, plugin, worker.engine, 60)
        assert list(importer.store(read_file(source, "file", PLUGIN, plugin))) == [(25, 25)]
    assert query(database_url, f"{stored} ORDER BY observed_at") == before


async def test_the_next_page_has_the_time_range_of_the_first(worker: InProcessWorker) -> None:
    """Also if the range ends now, which is another time for the next request."""
    now = datetime.now(UTC).replace(microsecond=0)
    with worker.engine.begin() as connection:
        connection.exec_driver_sql(
            "DELETE FROM temperature_readings_data WHERE " + of_series("hostname <> 'other'")
        )
    store(
        str(worker.engine.url.render_as_string(hide_password=False)),
        [("web-1", "k", 1.0, now - timedelta(minutes=n)) for n in range(1, 4)],
    )
    _, headers, body = await get(worker, f"{API}/web-1/readings?limit=2")
    assert len(parsed(body)) == 3
    following = URL(headers["Link"].partition(">")[0].removeprefix("<"), encoded=True)
    assert set(following.query) == {"limit", "from", "to", "after"}
    start, end = (datetime.fromisoformat(following.query[name]) for name in ("from", "to"))
    assert end - start == timedelta(hours=1)
    _, headers, body = await get(worker, str(following))
    assert len(parsed(body)) == 2
    assert "Link" not in headers


async def test_a_series_is_the_same_as_its_aggregates(worker: InProcessWorker, tmp_path: Path) -> None:
    status, headers, body = await get(worker, f"{PATH}/series?{DAY}&step=60")
    assert (status, headers["Content-Type"][:8]) == (200, "text/csv")
    assert headers["Content-Disposition"] == 'attachment; filename="Temperature-_a_b_-series.csv"'
    file = tmp_path / "series.csv"
    file.write_bytes(body)
    plugin = worker.app.plugins.installed[PLUGIN].plugin
    with file.open("rb") as source:
        found = list(read_file(source, "file", PLUGIN, plugin).rows)
    assert found == sorted(aggregates(), key=lambda row: (row.metric, row.bucket_start))
    _, _, body = await get(worker, f"{PATH}/series?{DAY}&step=2m&metric=b")
    assert [row[1:6] for row in parsed(body)[1:]] == [
        ["b", "120", "2026-11-23T00:00:00.000000Z", "4", "2.0"],
        ["b", "120", "2026-11-23T00:02:00.000000Z", "4", "6.0"],
    ]


@pytest.mark.parametrize(
    "accept", ["*/*", "application/json", "text/csv;q=0.5, application/json", "text/html"]
)
async def test_json_is_the_answer_to_other_requests(worker: InProcessWorker, accept: str) -> None:
    for path in ("readings", "series"):
        status, headers, body = await get(worker, f"{PATH}/{path}?{DAY}", accept)
        assert (status, headers["Content-Type"], headers["Vary"]) == (200, "application/json", "Accept")
        assert body.startswith(b"{")
        assert "Content-Disposition" not in headers
    status, headers, _ = await get(worker, "/api/v1/plugins")
    assert (headers["Content-Type"], "Vary" in headers) == ("application/json", False)


async def test_errors_and_limits_are_those_of_json(worker: InProcessWorker) -> None:
    for path, expected in {
        f"{PATH}/readings?limit=1001": 400,
        f"{PATH}/readings?from=2026-11-24&to=2026-11-23": 400,
        f"{PATH}/series?from=2000-01-01&to=2026-11-23": 400,
        f"{API.replace(PLUGIN, 'None')}/web-1/readings": 404,
    }.items():
        status, headers, _ = await get(worker, path)
        assert (status, headers["Content-Type"]) == (expected, "application/problem+json")
    for path in ("readings", "series"):
        status, _, body = await get(worker, f"{API}/unknown/{path}?{DAY}")
        assert (status, len(parsed(body))) == (200, 1)


async def test_the_openapi_document_describes_csv(worker: InProcessWorker) -> None:
    _, document = await worker.get("/api/v1/openapi.json")
    validate(document)
    with_csv = {
        path
        for path, operations in document["paths"].items()
        if "text/csv" in operations["get"]["responses"]["200"].get("content", {})
    }
    assert {path.rpartition("/")[2] for path in with_csv} == {"series", "readings"}
