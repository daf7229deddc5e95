"""Lists of hosts from snapshots: exact, sorted and paged, of all workers. Three workers in this process."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sparkle_app.model.buckets import Statistics
from sparkle_app.model.time import LATEST, rfc3339, span
from sparkle_app.storage.hosts import Host, record_activity
from sparkle_app.web.partition_router import PartitionRouter
from sparkle_app.web.problems import Problem, unavailable
from sparkle_app.web.snapshots import fleet, lines
from sparkle_app.web.snapshots.views import MAX_VIEWS, Views
from tests.support.cluster import PLUGIN, InProcessWorker, assign, holder
from tests.support.fake_clock import FakeClock
from tests.support.host_lists import (
    ALL,
    AT,
    HOSTS,
    LINES,
    NOW,
    activity,
    last_value,
    sample,
    three_workers,
    until,
)


@pytest.fixture
async def workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[InProcessWorker]]:
    async with three_workers(tmp_path, monkeypatch) as workers:
        yield workers


def values(page: Any) -> list[float]:
    return [each["headline"]["last"] for each in page["hosts"]]


@pytest.mark.parametrize("sort", ["-maximum", "maximum", "-last", "average", "-host", "-last_at", "count"])
async def test_the_ranking_is_that_of_all_workers(workers: list[InProcessWorker], sort: str) -> None:
    by, sign = sort.removeprefix("-"), -1 if sort.startswith("-") else 1
    found = []
    for number, worker in enumerate(workers):
        status, page = await worker.get(f"{LINES}?sort={sort}&limit=15&offset={15 * number}")
        assert (status, page["total"], page["next"]) == (200, 40, None)
        found += page["hosts"]
    assert sorted(each["host"] for each in found) == HOSTS
    names = [each["host"] for each in found]
    if by == "host":
        assert names == HOSTS[::-1]
    elif by in {"last_at", "count"}:
        assert names == HOSTS
    else:
        keys = [(sign * each["headline"][by], each["host"]) for each in found]
        assert keys == sorted(keys)


async def test_hosts_are_found_by_state_and_by_a_part_of_their_name(workers: list[InProcessWorker]) -> None:
    holder(workers, "Größe-1").count("Größe-1", sample(96, ago=1))
    status, page = await workers[0].get(f"{LINES}?state=critical&limit=1000")
    assert (status, {value > 95 for value in values(page)}, page["total"]) == (200, {True}, 5)
    status, page = await workers[0].get(f"{LINES}?search=GR%C3%96SSE")
    assert [each["host"] for each in page["hosts"]] == ["Größe-1"]
    status, page = await workers[0].get(f"{LINES}?search=t-1&state=ok&sort=-last&limit=3")
    assert values(page) == sorted(values(page), reverse=True)
    assert all("t-1" in each["host"] and each["state"] == "ok" for each in page["hosts"])
    status, problem = await workers[0].get(f"{LINES}?sort=last&after=host-1")
    assert (status, problem["detail"].partition(":")[0]) == (400, "after")
    status, problem = await workers[0].get(f"{LINES}?sort=size")
    assert (status, problem["detail"].partition(":")[0]) == (400, "sort")


async def test_a_client_that_has_the_response_gets_304_from_any_worker(
    workers: list[InProcessWorker],
) -> None:
    first, second, _ = workers
    for path in (f"{LINES}?sort=-last&limit=5", f"{ALL}?sort=state", f"/api/v1/plugins/{PLUGIN}/cells"):
        async with first.http.get(first.url + path) as response:
            tag = response.headers["ETag"]
            assert response.headers["Cache-Control"] == "private, no-cache"
            assert (response.status, bool(await response.read())) == (200, True)
        for given in (tag, f'"other", {tag}', tag.removeprefix("W/")):
            async with second.http.get(second.url + path, headers={"If-None-Match": given}) as response:
                assert (response.status, await response.read()) == (304, b"")
                assert response.headers["ETag"] == tag
    holder(workers, "host-01").count("host-01", sample(99.5, ago=1))

    async def status() -> int:
        async with second.http.get(second.url + path, headers={"If-None-Match": tag}) as response:
            return response.status

    _, page = await until(second, path, lambda _, page: 99.5 in page["last"])
    assert (99.5 in page["last"], await status()) == (True, 200)


async def test_pages_of_a_long_list_reach_the_other_workers(
    workers: list[InProcessWorker], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "PAGE_LINES", 3)
    for worker in workers:
        status, page = await worker.get(f"{LINES}?limit=1000")
        assert (status, [each["host"] for each in page["hosts"]]) == (200, HOSTS)


async def test_a_further_page_of_a_view_that_was_dropped_is_refused(
    workers: list[InProcessWorker], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "PAGE_LINES", 3)
    worker = workers[0]
    views = Views(worker.parts)
    start, end = AT - span(930), AT + span(30)
    query = lines.LinesQuery(lines.View(PLUGIN, 900), start, end, "", 0, True)
    page = await views.page(query)
    assert (len(page.lines), page.more) == (3, True)
    further = msgspec.structs.replace(query, epoch=page.epoch, since=page.changes, first=False)
    assert (await views.page(further)).epoch == page.epoch
    # Others are asked for meanwhile: those of another metric each.
    for number in range(MAX_VIEWS + len(worker.parts.plugins)):
        other = lines.View(PLUGIN, 900, f"core/{number}")
        await views.page(msgspec.structs.replace(query, view=other))
    with pytest.raises(Problem) as refused:
        await views.page(further)
    assert refused.value.status == 503


async def test_of_new_lines_that_are_read_in_part_none_is_shown(
    workers: list[InProcessWorker], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "PAGE_LINES", 3)
    first, _, third = workers
    theirs = [hostname for hostname in HOSTS if holder(workers, hostname) is third]
    assert len(theirs) > 3
    await first.get(ALL)
    post = PartitionRouter.post

    async def broken(
        router: PartitionRouter, url: str, path: str, query: lines.LinesQuery, decoder: Any
    ) -> Any:
        if url == third.url and not query.first:
            raise unavailable("broken")
        return await post(router, url, path, query, decoder)

    monkeypatch.setattr(PartitionRouter, "post", broken)
    # After a rebalance, all lines are sent again.
    assign(workers, {0, 2}, {1}, {3})
    for hostname in theirs:
        third.count(hostname, sample(61, ago=1))
    status, page = await until(
        first,
        f"{ALL}?limit=1000",
        lambda _, page: any(part["problem"] == "broken" for part in page["outdated"]),
    )
    assert (status, page["total"], page["outdated"][0]["as_of"]) == (200, 40, rfc3339(AT))
    assert [last_value(page, each) for each in theirs] == [7 * HOSTS.index(each) % 40 + 60 for each in theirs]
    monkeypatch.setattr(PartitionRouter, "post", post)
    _, page = await until(first, f"{ALL}?limit=1000", lambda _, page: not page["outdated"])
    assert {last_value(page, hostname) for hostname in theirs} == {61}


@pytest.mark.parametrize("repeated", [False, True], ids=["new hosts", "the same host"])
async def test_a_worker_whose_hosts_have_no_end_is_not_read_further(
    workers: list[InProcessWorker], monkeypatch: pytest.MonkeyPatch, repeated: bool
) -> None:
    """Whoever joins the consumer group may respond as a worker."""
    monkeypatch.setattr(fleet, "MAX_LINES", 5 * lines.PAGE_LINES)
    first, _, third = workers
    post, pages = PartitionRouter.post, 0

    async def endless(
        router: PartitionRouter, url: str, path: str, query: lines.LinesQuery, decoder: Any
    ) -> Any:
        nonlocal pages
        if url != third.url:
            return await post(router, url, path, query, decoder)
        pages += 1
        assert pages < 100
        name = "same" if repeated else f"{pages}-{{}}"
        found = [
            lines.Line(name.format(number), Statistics.of(1.0, AT), "core/0", Statistics.of(1.0, AT))
            for number in range(2 * lines.PAGE_LINES)
        ]
        return lines.LinesPage([3], "epoch", pages, found, [], more=True)

    monkeypatch.setattr(PartitionRouter, "post", endless)
    _, page = await until(first, ALL, lambda _, page: any(each["problem"] for each in page["outdated"]))
    assert "expected at most 5000 hosts, found more" in page["outdated"][0]["problem"]


async def test_while_a_worker_does_not_answer_its_hosts_are_shown_as_they_were(
    workers: list[InProcessWorker],
) -> None:
    first, second, third = workers
    theirs = [hostname for hostname in HOSTS if holder(workers, hostname) is third]
    assert theirs
    status, page = await first.get(f"{ALL}?limit=1000")
    assert (status, page["outdated"], page["problem"], page["total"]) == (200, [], None, 40)
    url = third.url
    assert third.server
    await third.server.close()
    status, page = await until(first, f"{ALL}?limit=1000", lambda _, page: bool(page["outdated"]))
    assert (status, page["total"]) == (200, 40)
    assert {part["plugin"] for part in page["outdated"]} == {PLUGIN, "PU_Workload"}
    for part in page["outdated"]:
        assert (part["worker"], part["partitions"], part["as_of"]) == (url, [3], rfc3339(AT))
        assert part["problem"].startswith(f"no response from the worker at {url}")
    status, problem = await until(first, LINES, lambda status, _: status == 503)
    assert (status, url in problem["detail"]) == (503, True)
    # One that never had them says so.
    status, page = await second.get(f"{ALL}?limit=1000")
    assert (status, page["total"]) == (200, 40 - len(theirs))
    assert {part["as_of"] for part in page["outdated"]} == {None}
    # Another worker takes them over.
    assign([first, second], {0, 2}, {1, 3})
    for hostname in theirs:
        second.count(hostname, sample(61, ago=1))
    for worker in (first, second):
        status, page = await until(worker, f"{ALL}?limit=1000", lambda _, page: not page["outdated"])
        assert (page["outdated"], page["total"]) == ([], 40)
        assert {last_value(page, hostname) for hostname in theirs} == {61}
        assert (await until(worker, LINES, lambda status, _: status == 200))[0] == 200


@pytest.mark.parametrize("processed", [False, True])
async def test_a_host_whose_partition_is_not_up_to_date_is_silent_only_if_that_is_known(
    workers: list[InProcessWorker], processed: bool
) -> None:
    """It may have sent readings that nobody has processed yet."""
    first, second, third = workers
    theirs = (name for name in (f"gone-{n}" for n in range(99)) if holder(workers, name) is third)
    gone, other = next(theirs), next(theirs)
    record_activity(first.engine, [activity(gone, 86_400)], LATEST)
    if processed:
        # A later record of the same partition is stored.
        record_activity(first.engine, [activity(other, 60)], LATEST)

    async def states(worker: InProcessWorker, outdated: bool) -> tuple[str, int]:
        _, page = await until(worker, f"{ALL}?limit=1000", lambda _, page: bool(page["outdated"]) == outdated)
        (state,) = (each["state"] for each in page["hosts"] if each["host"] == gone)
        return state, page["states"]["silent"]

    assert await states(first, outdated=False) == ("silent", 1)
    assert third.server
    await third.server.close()
    # It had been silent for long when the partition was up to date.
    assert await states(first, outdated=True) == ("silent", 1)
    assert await states(second, outdated=True) == (("silent", 1) if processed else ("unknown", 0))
    assign([first, second], {0, 2}, {1, 3})
    for worker in (first, second):
        assert await states(worker, outdated=False) == ("silent", 1)


async def test_partitions_without_a_worker_are_missing(workers: list[InProcessWorker]) -> None:
    (first, *_) = workers
    first.group.urls = {partition: url for partition, url in first.group.urls.items() if partition != 1}
    status, page = await first.get(f"{ALL}?plugin={PLUGIN}")
    assert (status, page["outdated"]) == (
        200,
        [
            {
                "plugin": PLUGIN,
                "worker": None,
                "partitions": [1],
                "as_of": None,
                "problem": "not assigned to a worker at this moment",
            }
        ],
    )


async def test_hosts_that_fell_silent_are_listed_and_the_worst_come_first(
    workers: list[InProcessWorker],
) -> None:
    record_activity(
        workers[0].engine,
        [
            activity("gone", 86_400),
            activity("host-00", 30),
            # Of another plugin only: the host is silent, although it sends temperatures.
            activity("host-02", 181, "PU_Workload"),
            activity("host-03", 179, "PU_Workload"),
            # SQL is a minute behind: it has sent another reading.
            activity("host-04", 190),
            activity("host-05", 30, "Fans"),
        ],
        LATEST,
    )
    for worker in workers:
        status, page = await worker.get(f"{ALL}?sort=state&limit=1000")
        assert status == 200
        states = [each["state"] for each in page["hosts"]]
        order = ["silent", "critical", "warning", "unknown", "ok"]
        assert states == sorted(states, key=order.index)
        by_host = {each["host"]: each for each in page["hosts"]}
        # It sends something, but no number that could be compared with the thresholds.
        assert by_host["host-03"]["plugins"]["PU_Workload"]["state"] == "unknown"
        assert {host for host in by_host if by_host[host]["state"] == "silent"} == {"gone", "host-02"}
        assert by_host["gone"]["plugins"][PLUGIN] == {
            "state": "silent",
            "last_seen": rfc3339(AT - span(86_400)),
            "interval_seconds": 60,
            "config_id": 3,
            "headline": None,
        }
        assert set(by_host["host-02"]["plugins"]) == {PLUGIN, "PU_Workload"}
        assert set(by_host["host-05"]["plugins"]) == {PLUGIN}
        assert by_host["host-04"]["plugins"][PLUGIN]["last_seen"] == rfc3339(AT - span(20))
        assert page["states"] == {state: states.count(state) for state in order}
        _, page = await worker.get(f"{ALL}?state=silent&sort=last_seen")
        assert [each["host"] for each in page["hosts"]] == ["gone", "host-02"]
        assert page["states"] == {state: states.count(state) for state in order}
        assert page["silent_hosts"] == []
        for query in ("silent=5", "silent=5&search=host-1&state=ok", "silent=5&offset=1000"):
            _, page = await worker.get(f"{ALL}?{query}")
            assert [each["host"] for each in page["silent_hosts"]] == ["host-02", "gone"]
        _, page = await worker.get(f"{ALL}?silent=1")
        assert [each["host"] for each in page["silent_hosts"]] == ["host-02"]
        _, page = await worker.get(f"{ALL}?plugin={PLUGIN}&silent=5")
        assert [each["host"] for each in page["silent_hosts"]] == ["gone"]
        _, page = await worker.get(f"{ALL}?plugin=PU_Workload&sort=-state")
        assert [each["host"] for each in page["hosts"]] == ["host-03", "host-02"]
        _, page = await worker.get(f"{ALL}?sort=-{PLUGIN}&limit=1000")
        lasts = [last_value(page, host) for host in HOSTS]
        assert [each["host"] for each in page["hosts"]][:40] == sorted(
            HOSTS, key=lambda host: (-lasts[HOSTS.index(host)], host)
        )
        _, cells = await worker.get(f"/api/v1/plugins/{PLUGIN}/cells")
        assert cells["host"] == ["gone", *HOSTS]
        assert (cells["state"][0], cells["last"]) == ("silent", [None, *lasts])


async def test_a_host_of_which_one_plugin_is_silent_has_been_silent_since_then(
    workers: list[InProcessWorker],
) -> None:
    """Hosts that still send temperatures do not hide one that sends nothing."""
    partly = [activity(f"host-{number:02}", 86_400 + number, "PU_Workload") for number in range(3)]
    record_activity(
        workers[0].engine, [*partly, activity("gone", 300), activity("gone", 300, "PU_Workload")], LATEST
    )
    for worker in workers:
        _, page = await worker.get(f"{ALL}?silent=2&state=silent&sort=last_seen")
        assert [each["host"] for each in page["silent_hosts"]] == ["gone", "host-00"]
        assert [(each["host"], each["last_seen"]) for each in page["hosts"]] == [
            *((f"host-{number:02}", rfc3339(AT - span(86_400 + number))) for number in (2, 1, 0)),
            ("gone", rfc3339(AT - span(300))),
        ]
        assert page["hosts"][0]["plugins"][PLUGIN]["last_seen"] == rfc3339(AT - span(20))
        _, host = await worker.get("/api/v1/hosts/host-01")
        assert (host["state"], host["last_seen"]) == ("silent", rfc3339(AT - span(86_401)))


async def test_with_a_plugin_state_and_time_are_those_of_the_plugin(workers: list[InProcessWorker]) -> None:
    """Their temperatures are 20 seconds old; host-11 is critical by its temperature."""
    record_activity(
        workers[0].engine,
        [
            activity("host-11", 400, "PU_Workload"),
            activity("host-06", 100, "PU_Workload"),
            activity("host-07", 300, "PU_Workload"),
        ],
        LATEST,
    )
    _, page = await workers[0].get(f"{ALL}?plugin=PU_Workload&sort=last_seen")
    assert [(each["host"], each["state"], each["last_seen"]) for each in page["hosts"]] == [
        ("host-11", "silent", rfc3339(AT - span(400))),
        ("host-07", "silent", rfc3339(AT - span(300))),
        ("host-06", "unknown", rfc3339(AT - span(100))),
    ]
    _, page = await workers[0].get(f"{ALL}?plugin={PLUGIN}&search=host-11")
    ((host,), states) = page["hosts"], page["states"]
    assert (host["state"], host["last_seen"]) == ("critical", rfc3339(AT - span(20)))
    assert (states["silent"], sum(states.values())) == (0, 40)


async def test_a_host_without_a_value_in_the_window_is_not_ok(workers: list[InProcessWorker]) -> None:
    first, second, _ = workers

    async def state(worker: InProcessWorker, later: float, expected: str) -> str:
        worker.app.clock._offset = NOW + later
        worker.app.clock._wall = FakeClock(NOW + later)

        def accept(_: int, page: Any) -> bool:
            (host,) = page["hosts"]
            return host["plugins"][PLUGIN]["headline"] is None and host["state"] == expected

        _, page = await until(worker, f"{ALL}?search=host-17", accept)
        assert accept(200, page)
        found = [name for name, count in page["states"].items() if count]
        assert page["states"][found[0]] == 1
        return str(*found)

    slow = msgspec.structs.replace(activity("host-17", 20), interval=span(600))
    record_activity(first.engine, [slow], LATEST)
    _, page = await first.get(f"{ALL}?search=host-17")
    assert page["hosts"][0]["state"] == "critical"
    # The value leaves the window of 15 minutes, but is still the last one.
    assert await state(first, 1000, "critical") == "critical"
    # This worker has not seen it.
    assert await state(second, 1000, "unknown") == "unknown"
    # There is a newer reading, which is not a number.
    at = AT + span(1050)
    record_activity(
        first.engine, [msgspec.structs.replace(slow, last_observed_at=at, last_received_at=at)], LATEST
    )
    assert await state(first, 1070, "unknown") == "unknown"


async def test_a_host_falls_silent_when_its_time_is_over(workers: list[InProcessWorker]) -> None:
    (first, *_) = workers
    record_activity(first.engine, [activity("host-00", 30)], LATEST)
    _, page = await first.get(f"{ALL}?search=host-00")
    assert page["hosts"][0]["state"] == "ok"
    # Three intervals after its reading of 20 seconds ago.
    first.app.clock._offset = NOW + 161
    first.app.clock._wall = FakeClock(NOW + 161)
    _, page = await until(
        first, f"{ALL}?search=host-00", lambda _, page: page["hosts"][0]["state"] == "silent"
    )
    assert page["hosts"][0]["state"] == "silent"


async def test_without_the_database_the_values_are_shown_and_the_problem_is_named(
    workers: list[InProcessWorker],
) -> None:
    (first, *_) = workers
    Host.__table__.drop(first.engine)
    status, page = await first.get(ALL)
    assert (status, page["total"]) == (200, 40)
    assert "sparkle_hosts" in page["problem"]
