"""The state of the pipeline: what each worker consumes, what it lags behind, and what it waits for."""

import asyncio
from collections.abc import Mapping

import msgspec

from sparkle_app.kafka.topology import dead_letter_topic, samples_topic
from sparkle_app.model.time import from_seconds, rfc3339
from sparkle_app.runtime.version import __version__
from sparkle_app.web.api.responses import MadeAt
from sparkle_app.web.api.route import Route
from sparkle_app.web.partition_router import PartitionRouter
from sparkle_app.web.parts import WebParts
from sparkle_app.web.problems import Problem
from sparkle_app.web.snapshots.refreshed import Refreshed

PIPELINE_PATH = "/internal/v1/pipeline"


class PipelineQuery(msgspec.Struct, frozen=True):
    """A worker's request for the state of another one."""


class TopicLag(msgspec.Struct):
    """A topic that a worker consumes."""

    topic: str
    role: str
    """``ingest``: records of collectors; ``aggregate``: samples of stored readings."""
    partitions: list[int]
    lag: int | None
    """Records that are not consumed and committed yet, in all partitions; null: not known yet. Each record of a samples
    topic has the samples of many readings."""
    partition_lags: list[int | None] = []
    """The same of each partition, in the order of `partitions`."""


class StageInProgress(msgspec.Struct):
    """A batch in a stage of the pipeline."""

    stage: str
    seconds: float
    error: str | None
    """Why its last attempt failed: the stage is repeated until it succeeds."""


class StageTotal(msgspec.Struct):
    """What a worker has done in a stage since it started."""

    batches: float
    seconds: float


class WorkerState(msgspec.Struct):
    """What one worker does."""

    worker: str
    """Its URL."""
    version: str
    consuming: bool
    """Whether it has its partitions and their tables, and the broker answers."""
    problem: str | None
    """Why it cannot work although it is a member of the consumer group."""
    tables: dict[str, list[int]]
    """By plugin: the partitions of hosts that this worker answers for."""
    topics: list[TopicLag]
    stages: list[StageInProgress]
    seconds_since_stored: float
    """Since a reading was last stored, or since the worker started."""
    row_delay_seconds: dict[str, float]
    """By plugin: from the timestamp of the last record to its row in SQL."""
    readings: dict[str, float]
    """By plugin: readings stored since the worker started."""
    retries: dict[str, float]
    """By stage: retries after a transient error since the worker started."""
    dead_letters: dict[str, float]
    """By reason: dead letters produced since the worker started."""
    held_back: float
    """Records that no private key decrypts, since the worker started. They are read again once one does."""
    answer_delay_seconds: dict[str, float] = {}
    """By plugin: from producing the last samples to including them in query results."""
    stage_totals: dict[str, StageTotal] = {}
    """By stage."""


class UnreachableWorker(msgspec.Struct):
    """A worker that owns partitions and does not answer."""

    worker: str
    problem: str


class PipelineResponse(msgspec.Struct):
    """All workers of the consumer group that own partitions, and the one that answers."""

    made_at: MadeAt
    workers: list[WorkerState]
    unreachable: list[UnreachableWorker]
    unowned: dict[str, list[int]]
    """By plugin: partitions of hosts that no worker owns at this moment."""


_state = msgspec.json.Decoder(WorkerState)


class Pipeline:
    """Asks all workers, every two seconds while somebody asks for their state."""

    def __init__(self, parts: WebParts) -> None:
        self._parts = parts
        self._router = PartitionRouter(parts)
        self._refreshed = Refreshed(self._ask_all)

    def route(self) -> Route:
        """The state of all workers."""
        return Route(
            "/api/v1/pipeline",
            "What each worker consumes, how far it lags behind, and what it waits for",
            PipelineResponse,
            self.state,
        )

    async def state(self) -> PipelineResponse:
        """The state of all workers, some seconds old at most. It must not be modified."""
        return await self._refreshed.get()

    async def _ask_all(self) -> PipelineResponse:
        made_at = rfc3339(from_seconds(self._parts.clock.now()))
        owners = {plugin: self._router.owners(plugin) for plugin in self._parts.tables}
        urls = sorted({self._parts.group.url, *(url for each in owners.values() for url in each.values())})
        answers = await asyncio.gather(*map(self._ask, urls))
        numbers = range(self._parts.settings.broker.partitions)
        return PipelineResponse(
            made_at,
            [each for each in answers if isinstance(each, WorkerState)],
            [each for each in answers if isinstance(each, UnreachableWorker)],
            {
                plugin: missing
                for plugin, each in owners.items()
                if (missing := [number for number in numbers if number not in each])
            },
        )

    async def _ask(self, url: str) -> WorkerState | UnreachableWorker:
        try:
            if self._router.is_local(url):
                return await self.local(PipelineQuery())
            return await self._router.post(url, PIPELINE_PATH, PipelineQuery(), _state)
        except Problem as problem:
            return UnreachableWorker(url, problem.detail)

    async def local(self, _query: PipelineQuery) -> WorkerState:
        """The state of this worker."""
        group, metrics, app_id = self._parts.group, self._parts.metrics, self._parts.settings.app_id
        samples = {samples_topic(app_id, plugin) for plugin in self._parts.plugins}
        topics: dict[str, TopicLag] = {}
        for lag in group.lags():
            if lag.topic == dead_letter_topic(app_id):
                continue
            role = "aggregate" if lag.topic in samples else "ingest"
            found = topics.setdefault(lag.topic, TopicLag(lag.topic, role, [], 0, []))
            found.partitions.append(lag.partition)
            number = None
            if lag.end is not None and (lag.committed is not None or lag.end == 0):
                number = max(lag.end - (lag.committed or 0), 0)
            found.partition_lags.append(number)
            found.lag = None if found.lag is None or number is None else found.lag + number
        return WorkerState(
            worker=group.url,
            version=__version__,
            consuming=group.complete and group.in_session,
            problem=group.problem or None,
            tables={name: sorted(table.owned()) for name, table in self._parts.tables.items()},
            topics=list(topics.values()),
            stages=[
                StageInProgress(stage, round(seconds, 3), error or None)
                for stage, seconds, error in metrics.stages.in_progress()
            ],
            seconds_since_stored=round(metrics.since_stored, 3),
            row_delay_seconds=_rounded(metrics.values(metrics.row_delay)),
            readings=metrics.values(metrics.readings),
            retries=metrics.values(metrics.retries),
            dead_letters=metrics.values(metrics.dead_letters),
            held_back=sum(metrics.values(metrics.held_back).values()),
            answer_delay_seconds=_rounded(metrics.values(metrics.answer_delay)),
            stage_totals={
                stage: StageTotal(batches, round(seconds, 3))
                for stage, (batches, seconds) in metrics.stage_totals().items()
            },
        )


def _rounded(seconds: Mapping[str, float]) -> dict[str, float]:
    return {name: round(each, 3) for name, each in seconds.items()}
