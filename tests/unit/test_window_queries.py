"""Rolling windows over several workers: exact, or 503. Three workers in this process ask each other over HTTP."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from sparkle_app.kafka.topology import partition_of
from sparkle_app.model.sample import Sample
from sparkle_app.model.time import from_seconds, rfc3339, span
from sparkle_app.plugin.panel import Headline
from sparkle_app.runtime.clock import WallClock
from sparkle_app.web import slices
from sparkle_app.web.api import responses
from sparkle_app.web.api.lines import HostsResponse, HostStatistics
from sparkle_app.web.api.window_queries import WindowQueries
from sparkle_app.web.partition_router import WindowQuery
from sparkle_app.web.problems import Problem
from tests.support.cluster import BUCKET_SECONDS, PARTITIONS, PLUGIN, InProcessWorker, assign, holder
from tests.support.fake_clock import FakeClock

NOW = 1_800_000_030.0
"""Half a minute after a bucket has begun."""
# Sorted last and held by one worker, so that the last page depends on the limit that this worker was given.
NEIGHBOURS = [name for number in range(30) if partition_of(name := f"😀-{number}", PARTITIONS) == 2][:3]
HOSTS = ["a/b", "хост", "😀", "..", *(f"host-{number}" for number in range(24)), *NEIGHBOURS]
METRICS = ("core/0", "core/1", "gpu")
ALL = set(range(PARTITIONS))


def samples_of(number: int) -> list[Sample]:
    """A host's samples of the last hour; quarters, whose sums are exact in any order."""
    chance = random.Random(number)
    return [
        Sample(
            chance.randbytes(8),
            metric,
            chance.randrange(-400, 400) / 4,
            from_seconds(NOW) - chance.randrange(span(3500)),
        )
        for metric in METRICS[: 1 + number % 3]
        for _ in range(chance.randrange(1, 12))
    ]


SENT = {hostname: samples_of(number) for number, hostname in enumerate(HOSTS)}


def expected(samples: Iterable[Sample], window: int) -> dict[str, Any]:
    """Metrics by name as they have to be answered, computed from the samples one by one."""
    first = from_seconds(NOW) - span(window)
    first -= first % span(BUCKET_SECONDS)
    by_metric: dict[str, list[Sample]] = {}
    for sample in samples:
        if sample.observed_at >= first:
            by_metric.setdefault(sample.metric, []).append(sample)
    return {metric: line(found) for metric, found in sorted(by_metric.items())}


def line(samples: list[Sample]) -> dict[str, Any]:
    values = [sample.value for sample in samples]
    last = max(samples, key=lambda sample: (sample.observed_at, sample.value))
    return {
        "count": len(values),
        "average": sum(values) / len(values),
        "minimum": min(values),
        "maximum": max(values),
        "last": last.value,
        "last_at": rfc3339(last.observed_at),
    }


@pytest.fixture
async def workers(tmp_path: Path) -> AsyncIterator[list[InProcessWorker]]:
    """Three workers with all samples of their partitions: {0, 2}, {1} and {3}."""
    workers = [InProcessWorker(tmp_path / str(number), "web: {token: secret}") for number in range(3)]
    for worker in workers:
        worker.app.clock = WallClock(FakeClock(NOW), FakeClock(0.0))
        await worker.start()
        worker.http.headers["Authorization"] = "Bearer secret"
    assign(workers, {0, 2}, {1}, {3})
    for hostname, samples in SENT.items():
        holder(workers, hostname).count(hostname, *samples)
    yield workers
    for worker in workers:
        await worker.stop()


@pytest.mark.parametrize("window", [1, 60, 900, 3600])
async def test_every_worker_merges_the_windows_of_all_exactly(
    workers: list[InProcessWorker], window: int
) -> None:
    every = [sample for samples in SENT.values() for sample in samples]
    with_samples = [hostname for hostname, samples in SENT.items() if expected(samples, window)]
    for worker in workers:
        status, fleet = await worker.get(f"/api/v1/plugins/{PLUGIN}?window={window}")
        assert status == 200
        assert fleet["metrics"] == expected(every, window)
        assert list(fleet["metrics"]) == sorted(fleet["metrics"])
        assert fleet["hosts"] == len(with_samples)
        assert (fleet["plugin"], fleet["unit"], fleet["window_seconds"]) == (PLUGIN, "°C", window)
        assert fleet["to"] == rfc3339(from_seconds(NOW) + span(30))


async def test_every_worker_answers_for_every_host(workers: list[InProcessWorker]) -> None:
    for worker in workers:
        for hostname, samples in SENT.items():
            path = f"/api/v1/plugins/{PLUGIN}/hosts/{quote(hostname, safe='').replace('.', '%2E')}"
            status, found = await worker.get(f"{path}?window=15m")
            assert (status, found["host"]) == (200, hostname)
            assert found["metrics"] == expected(samples, 900)


@pytest.mark.parametrize("limit", [1, 2, 7, 30, 31, 32])
async def test_pages_hold_every_host_once_whoever_is_asked(
    workers: list[InProcessWorker], limit: int
) -> None:
    found: list[dict[str, Any]] = []
    after, pages = "", 0
    while True:
        worker = workers[pages % len(workers)]
        query = f"window=1h&metric=core/0&limit={limit}&after={quote(after, safe='')}"
        status, page = await worker.get(f"/api/v1/plugins/{PLUGIN}/hosts?{query}")
        assert status == 200
        found += page["hosts"]
        pages += 1
        if page["next"] is None:
            break
        assert len(page["hosts"]) == limit
        assert page["next"] == page["hosts"][-1]["host"]
        after = page["next"]
    assert pages == -(-len(HOSTS) // limit)
    lines = {hostname: expected(SENT[hostname], 3600)["core/0"] for hostname in sorted(HOSTS)}
    assert found == [
        {"host": hostname, "state": state_of(line)} | line | {"headline": {"metric": "core/0"} | line}
        for hostname, line in lines.items()
    ]


def state_of(headline: dict[str, Any]) -> str:
    """According to the thresholds of PLUGIN."""
    return "critical" if headline["last"] > 95 else "warning" if headline["last"] > 80 else "ok"


@pytest.mark.parametrize("headline", [None, "core/1"])
async def test_a_line_without_a_metric_is_of_all_metrics_together_and_has_a_headline(
    workers: list[InProcessWorker], headline: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for worker in workers:
        installed = worker.parts.plugins[PLUGIN]
        panel = msgspec.structs.replace(installed.panel, headline=Headline(metric=headline))
        monkeypatch.setitem(vars(installed), "panel", panel)
    status, page = await workers[0].get(f"/api/v1/plugins/{PLUGIN}/hosts?window=1h&limit=1000")
    assert status == 200
    expected_lines = []
    for hostname in sorted(HOSTS):
        metrics = expected(SENT[hostname], 3600)
        name = max(metrics, key=lambda metric: metrics[metric]["average"])
        if headline in metrics:
            name = headline
        expected_lines.append(
            {"host": hostname, "state": state_of(metrics[name])}
            | line(SENT[hostname])
            | {"headline": {"metric": name} | metrics[name]}
        )
    assert page["hosts"] == expected_lines
    assert len({each["headline"]["metric"] for each in expected_lines}) > 1
    _, found = await workers[0].get("/api/v1/plugins")
    assert [each["headline"] for each in found["plugins"] if each["name"] == PLUGIN] == [headline]


async def test_hosts_without_the_metric_have_no_line(workers: list[InProcessWorker]) -> None:
    status, page = await workers[0].get(f"/api/v1/plugins/{PLUGIN}/hosts?window=1h&metric=gpu")
    assert status == 200
    assert [each["host"] for each in page["hosts"]] == sorted(
        hostname for hostname, samples in SENT.items() if "gpu" in expected(samples, 3600)
    )
    status, page = await workers[0].get(f"/api/v1/plugins/{PLUGIN}/hosts?metric=none")
    assert (status, page["hosts"], page["next"]) == (200, [], None)


async def test_a_host_that_is_quiet_within_the_window_has_no_metrics_and_an_unknown_one_is_404(
    workers: list[InProcessWorker],
) -> None:
    quiet = Sample(b"12345678", "core/0", 1.0, from_seconds(NOW) - span(3000))
    holder(workers, "quiet").count("quiet", quiet)
    for worker in workers:
        status, found = await worker.get(f"/api/v1/plugins/{PLUGIN}/hosts/quiet?window=60")
        assert (status, found["metrics"]) == (200, {})
        status, problem = await worker.get(f"/api/v1/plugins/{PLUGIN}/hosts/unknown?window=60")
        # Not those of the window: a host that is quiet within it is known.
        assert (status, problem["detail"]) == (
            404,
            f"no aggregates of {PLUGIN} from host 'unknown' in the last 3600 s (window retention);"
            " …/readings returns all stored values, also those that are not aggregated",
        )
        status, _ = await worker.get("/api/v1/plugins/None/hosts/quiet")
        assert status == 404
        status, _ = await worker.get(f"/api/v1/plugins/{PLUGIN}?window=3601")
        assert status == 400


async def test_a_name_that_is_no_text_is_404(workers: list[InProcessWorker]) -> None:
    with pytest.raises(Problem) as caught:
        await WindowQueries(workers[0].parts).host(PLUGIN, "\ud800", 60)
    assert caught.value.status == 404


@pytest.mark.parametrize(
    "held",
    [
        pytest.param([{0, 2}, {1}, set()], id="one is held by nobody"),
        pytest.param([{0, 2}, {1, 3}, {3}], id="one is held by two"),
        pytest.param([{0}, {1}, {3}], id="one is not yet taken over"),
        pytest.param([{0, 2, 4}, {1}, {3}], id="one too many"),
    ],
)
async def test_unless_each_partition_is_held_once_there_is_no_answer(
    workers: list[InProcessWorker], held: list[set[int]]
) -> None:
    for worker, partitions in zip(workers, held, strict=True):
        worker.owned = partitions
    for page in ("", "/hosts"):
        async with workers[1].http.get(f"{workers[1].url}/api/v1/plugins/{PLUGIN}{page}") as response:
            assert response.status == 503
            assert int(response.headers["Retry-After"]) > 0
            # They have three addresses: those are not the reason.
            assert "public_url" not in await response.text()


async def test_a_partition_that_the_group_has_given_to_nobody_is_503(workers: list[InProcessWorker]) -> None:
    del workers[0].group.urls[partition_of("host-1", PARTITIONS)]
    for worker in workers:
        assert (await worker.get(f"/api/v1/plugins/{PLUGIN}"))[0] == 503
        assert (await worker.get(f"/api/v1/plugins/{PLUGIN}/hosts/host-1"))[0] == 503


async def test_a_host_whose_partition_moves_is_503_until_its_new_worker_has_it(
    workers: list[InProcessWorker],
) -> None:
    _, second, third = workers
    old = holder(workers, "host-1")
    new = second if old is not second else third
    partition = partition_of("host-1", PARTITIONS)
    path = f"/api/v1/plugins/{PLUGIN}/hosts/host-1?window=1h"
    for worker in workers:
        worker.group.urls[partition] = new.url
    old.owned = old.owned - {partition}
    for worker in workers:
        assert (await worker.get(path))[0] == 503
    new.count("host-1", *SENT["host-1"])
    new.owned = new.owned | {partition}
    for worker in workers:
        status, found = await worker.get(path)
        assert (status, found["metrics"]) == (200, expected(SENT["host-1"], 3600))


@pytest.mark.parametrize("change", ["generation", "partitions"])
async def test_a_rebalance_while_a_worker_counts_is_503(
    workers: list[InProcessWorker], change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slices, "SLICE_SECONDS", 0.0)
    (worker, *_) = workers
    for number in range(250):
        worker.count(f"many-{number:03}", Sample(number.to_bytes(8), "core/0", 1.0, from_seconds(NOW)))
    query = WindowQuery(PLUGIN, 0, from_seconds(NOW) + span(60))
    counting = asyncio.create_task(WindowQueries(worker.parts).local(query))
    # Others get their turn while many hosts are merged.
    for _ in range(100):
        await asyncio.sleep(0)
    assert not counting.done()
    if change == "generation":
        worker.group.generation += 1
    else:
        worker.owned = set()
    with pytest.raises(Problem) as caught:
        await counting
    assert caught.value.status == 503
    assert caught.value.headers["Retry-After"]
    if change == "generation":
        partial = await WindowQueries(worker.parts).local(query)
        assert partial.partitions == [0, 2]
        assert partial.hosts >= 250


async def test_two_workers_with_one_address_are_told_to_set_public_url(
    workers: list[InProcessWorker],
) -> None:
    first, second, _ = workers
    assign([first, second], {0, 2}, {1, 3})
    # As where both run with the same web.host and web.port, on two machines.
    first.group.urls = dict.fromkeys(ALL, first.url)
    status, problem = await first.get(f"/api/v1/plugins/{PLUGIN}")
    assert status == 503
    assert "web.public_url" in problem["detail"]
    assert first.url in problem["detail"]
    # The address leads to one of them: it has the hosts of its own partitions only.
    mine, other = (
        next(h for h in HOSTS[4:] if (holder([first, second], h) is first) is own) for own in (True, False)
    )
    assert (await first.get(f"/api/v1/plugins/{PLUGIN}/hosts/{mine}"))[0] == 200
    status, problem = await first.get(f"/api/v1/plugins/{PLUGIN}/hosts/{other}")
    assert status == 503
    assert "web.public_url" in problem["detail"]


async def test_a_single_worker_that_takes_partitions_over_gets_no_such_hint(
    workers: list[InProcessWorker],
) -> None:
    (first, *_) = workers
    assign([first], ALL)
    first.owned = set()
    status, problem = await first.get(f"/api/v1/plugins/{PLUGIN}")
    assert status == 503
    assert "public_url" not in problem["detail"]


async def test_a_worker_whose_clock_has_stepped_answers_others_only(workers: list[InProcessWorker]) -> None:
    first, second, _ = workers
    wall = FakeClock(NOW)
    first.app.clock._wall = wall
    wall.now += 7200
    hostname = next(h for h in HOSTS[4:] if holder(workers, h) is first)
    paths = [f"/api/v1/plugins/{PLUGIN}", f"/api/v1/plugins/{PLUGIN}/hosts/{hostname}?window=3600"]
    for path in paths:
        status, problem = await first.get(path)
        assert (status, problem["detail"].partition(":")[0]) == (503, "the clock of this worker has stepped")
        assert (await second.get(path))[0] == 200
    assert (await first.get(f"/api/v1/plugins/{PLUGIN}/hosts/{hostname}/series?metric=core%2F0"))[0] == 503
    status, ready = await first.get("/health/ready")
    assert (status, ready["checks"]["clock"]) == (503, "the system clock jumped; see the log")
    wall.now -= 7200
    for path in paths:
        assert await first.get(path) == await second.get(path)


async def test_a_window_that_begins_before_what_was_pruned_is_not_answered(
    workers: list[InProcessWorker],
) -> None:
    first, second, _ = workers
    # As after a long time in which its clock was ahead.
    first.table.prune(from_seconds(NOW - 90))
    for worker in (second, first):
        status, problem = await worker.get(f"/api/v1/plugins/{PLUGIN}?window=3600")
        assert status == 503
        assert (await worker.get(f"/api/v1/plugins/{PLUGIN}?window=30"))[0] == 200
    assert "the clock of the worker that has them is ahead" in problem["detail"]


def test_the_schema_of_a_line_permits_an_average_beyond_the_range_of_a_double() -> None:
    _, schemas = msgspec.json.schema_components([HostsResponse])
    for each in (responses.MetricStatistics, HostStatistics, responses.HeadlineStatistics):
        types = msgspec.json.schema_components([each])[1][each.__name__]["properties"]["average"]["anyOf"]
        assert {"type": "null"} in types, each
    assert schemas["HostStatistics"]["properties"]["average"]["deprecated"]
