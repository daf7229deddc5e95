"""/api/v1/pipeline: what each worker does. Two workers in this process."""

import asyncio
from pathlib import Path

import pytest

from sparkle_app.kafka.consumer import PartitionLag
from sparkle_app.kafka.topology import dead_letter_topic, samples_topic
from sparkle_app.model.errors import Reason
from sparkle_app.runtime.stages import Stage
from sparkle_app.web.api.pipeline import Pipeline, PipelineQuery, WorkerState
from sparkle_app.web.snapshots import refreshed
from tests.support.cluster import PLUGIN, InProcessWorker, assign


async def test_every_worker_says_what_all_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (InProcessWorker(tmp_path / name, "web: {token: secret}") for name in "ab")
    monkeypatch.setattr(refreshed, "REFRESH_SECONDS", 0.02)
    for worker in (first, second):
        await worker.start()
        worker.http.headers["Authorization"] = "Bearer secret"
    assign([first, second], {0, 1}, {3})
    samples = samples_topic(first.settings.app_id, PLUGIN)
    first.group.lag = [
        PartitionLag("telemetry", 0, 90, 100),
        PartitionLag("telemetry", 2, 0, 7),
        PartitionLag(samples, 1, 5, 5),
        PartitionLag(dead_letter_topic(first.settings.app_id), 0, None, None),
    ]
    second.group.lag = [
        PartitionLag("telemetry", 1, None, 3),
        PartitionLag(samples, 0, 9, 8),
        PartitionLag(samples, 1, None, 0),
    ]
    metrics = first.app.metrics
    metrics.stored(PLUGIN, 12, 0.25)
    metrics.answered(PLUGIN, 0.125)
    with metrics.stage(Stage.OPEN):
        pass
    metrics.retries.labels(Stage.STORE).inc(3)
    metrics.dead_letters.labels(Reason.NOT_JSON).inc()
    second.group.problem = "the clock is wrong"
    with metrics.stages.run(Stage.STORE) as run:
        run.error = "database: locked"
        _, found = await first.get("/api/v1/pipeline")
        status, same = await second.get("/api/v1/pipeline")
    assert status == 200
    for state in (found, same):
        assert state["unowned"] == {name: [2] for name in first.app.buckets}
        assert state["unreachable"] == []
        by_url = {each["worker"]: each for each in state["workers"]}
        one, other = by_url[first.url], by_url[second.url]
        assert one["topics"] == [
            {
                "topic": "telemetry",
                "role": "ingest",
                "partitions": [0, 2],
                "lag": 17,
                "partition_lags": [10, 7],
            },
            {"topic": samples, "role": "aggregate", "partitions": [1], "lag": 0, "partition_lags": [0]},
        ]
        # What is not known is not 0; a commit may be ahead of what the last fetch has seen; and of an empty partition
        # nothing is ever committed.
        assert [(each["lag"], each["partition_lags"]) for each in other["topics"]] == [
            (None, [None]),
            (0, [0, 0]),
        ]
        assert (one["tables"][PLUGIN], other["tables"][PLUGIN]) == ([0, 1], [3])
        assert [(each["stage"], each["error"]) for each in one["stages"]] == [("store", "database: locked")]
        assert (one["readings"][PLUGIN], one["row_delay_seconds"]) == (12, {PLUGIN: 0.25})
        assert one["answer_delay_seconds"] == {PLUGIN: 0.125}
        totals = one["stage_totals"]
        assert [totals[stage]["batches"] for stage in (Stage.OPEN, Stage.STORE)] == [1, 0]
        assert (one["retries"]["store"], one["dead_letters"]["not_json"]) == (3, 1)
        assert (one["problem"], other["problem"], one["consuming"]) == (None, "the clock is wrong", True)
    url = second.url
    await second.stop()
    async with asyncio.timeout(20):
        while not found["unreachable"]:
            await asyncio.sleep(0.02)
            _, found = await first.get("/api/v1/pipeline")
    assert [each["worker"] for each in found["workers"]] == [first.url]
    assert [each["worker"] for each in found["unreachable"]] == [url]
    assert found["unreachable"][0]["problem"].startswith("no response from the worker")
    await first.stop()


async def test_all_who_ask_get_one_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refreshed, "REFRESH_SECONDS", 3600.0)
    monkeypatch.setattr(refreshed, "MAX_REFRESH_SECONDS", 3600.0)
    local, calls = Pipeline.local, 0

    async def counted(pipeline: Pipeline, query: PipelineQuery) -> WorkerState:
        nonlocal calls
        calls += 1
        return await local(pipeline, query)

    monkeypatch.setattr(Pipeline, "local", counted)
    worker = InProcessWorker(tmp_path / "a")
    await worker.start()
    assign([worker], {0, 1, 2, 3})
    answers = await asyncio.gather(*(worker.get("/api/v1/pipeline") for _ in range(10)))
    answers.append(await worker.get("/api/v1/pipeline"))
    assert all(answer == answers[0] for answer in answers)
    assert (answers[0][0], calls) == (200, 1)
    await worker.stop()
