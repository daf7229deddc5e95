"""Replays dead letters, one request at a time, and says how far the replay is."""

import asyncio
import logging
from typing import Any, Literal

import msgspec
from aiokafka.errors import KafkaError

from sparkle_app.dead_letters.reader import TooManyDeadLettersError, open_dead_letters
from sparkle_app.dead_letters.replay import ReplayProgress, count_replayable, replay_selected
from sparkle_app.dead_letters.selection import Filter
from sparkle_app.kafka.connection import open_producer
from sparkle_app.model.time import from_seconds, rfc3339
from sparkle_app.web.api.dead_letters import FILTERS
from sparkle_app.web.api.parameters import choice, instant
from sparkle_app.web.api.route import Route
from sparkle_app.web.partition_router import PartitionRouter
from sparkle_app.web.parts import WebParts
from sparkle_app.web.problems import Problem

REPLAY_PATH = "/internal/v1/replay"
_PATH = "/api/v1/dead-letters/replay"
_PROBLEMS = {502: "Unexpected response from another worker", 503: "Another worker does not answer"}
MAX_DEAD_LETTERS = 500_000
"""Their keys have to fit into memory beside the worker's tables."""

logger = logging.getLogger(__name__)


class ReplayQuery(msgspec.Struct, frozen=True):
    """A worker's request for the state of another one's replay."""


class ReplayResponse(msgspec.Struct):
    """The last replay that was requested over HTTP since the workers started."""

    state: Literal["none", "running", "finished", "failed"] = "none"
    worker: str | None = None
    """URL of the worker that does it."""
    filters: dict[str, str] = {}
    """Which dead letters were selected; empty: all."""
    started_at: str | None = None
    finished_at: str | None = None
    replayable: int = 0
    """Selected dead letters that contain their record; increases until all are counted."""
    without_record: int = 0
    """Selected dead letters that cannot be replayed: they have no value, as those of records that were too large."""
    replayed: int = 0
    """Dead letters whose records the broker has received again. Workers delete those that become readings."""
    sent: int = 0
    """Records: each may have several dead letters, and is produced once."""
    problem: str | None = None
    """Why it failed. It may be repeated: no reading is stored or counted twice."""


_response = msgspec.json.Decoder(ReplayResponse)


class Replays:
    """Starts replays on this worker, and knows those of the others."""

    def __init__(self, parts: WebParts) -> None:
        self._parts = parts
        self._router = PartitionRouter(parts)
        self._starting = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._last = ReplayResponse()
        self._progress = ReplayProgress()

    def state_route(self) -> Route:
        """The replay that is running."""
        return Route(
            _PATH,
            "The replay of dead letters that is running, or else the last one",
            ReplayResponse,
            self.state,
            problems=_PROBLEMS,
        )

    def start_route(self) -> Route:
        """The start of a replay."""

        async def start(**query: Any) -> ReplayResponse:
            everything = query.pop("all") is not None
            return await self.start(Filter(**query), everything)

        return Route(
            _PATH,
            "Replay dead letters: produce their records back to their topics",
            ReplayResponse,
            start,
            (
                choice("all", "All of them: required without filters.", ["true"]),
                *FILTERS,
                instant("since", "Only those of records received at this time or later. Default: all."),
                instant("until", "Only those of records received before this time. Default: all."),
            ),
            status=lambda _response: 202,
            statuses=(202,),
            writes=True,
            problems={409: "A replay is running", **_PROBLEMS},
        )

    async def start(self, selected: Filter, everything: bool) -> ReplayResponse:
        """Start a replay of the selected dead letters.

        Raises:
            Problem: 400, if there are neither filters nor ``everything``, or both; 409, if a replay is running; 503, if
                a worker does not answer, and may be running one.
        """
        if everything == (selected != Filter()):
            found = "both" if everything else "neither"
            raise Problem(400, f"all: expected either all=true or filters, found {found}")
        async with self._starting:
            running = await self.state()
            if running.state == "running":
                raise Problem(409, f"a replay is running on {running.worker}, since {running.started_at}")
            self._progress = ReplayProgress()
            self._last = ReplayResponse(
                "running", self._parts.group.url, _shown(selected), rfc3339(self._now())
            )
            logger.info("replay of dead letters requested over HTTP: %s", self._last.filters or "all")
            self._task = asyncio.create_task(self._run(selected, self._last))
        return await self.local(ReplayQuery())

    async def state(self) -> ReplayResponse:
        """The replay that is running, or else the last one.

        Raises:
            Problem: 503, if a worker does not answer, and may be running one.
        """
        owners = [self._router.owners(plugin) for plugin in self._parts.tables]
        urls = {self._parts.group.url, *(url for each in owners for url in each.values())}
        answers = await asyncio.gather(*map(self._ask, sorted(urls)), return_exceptions=True)
        known = [each for each in answers if isinstance(each, ReplayResponse)]
        last = max(known, key=lambda each: (each.state == "running", each.started_at or ""))
        if last.state != "running":
            for each in answers:
                if isinstance(each, BaseException):
                    raise each
        return last

    async def _ask(self, url: str) -> ReplayResponse:
        if self._router.is_local(url):
            return await self.local(ReplayQuery())
        return await self._router.post(url, REPLAY_PATH, ReplayQuery(), _response)

    async def local(self, _query: ReplayQuery) -> ReplayResponse:
        """The last replay on this worker."""
        self._last.replayable, self._last.without_record = self._progress.replayable, self._progress.empty
        self._last.replayed, self._last.sent = self._progress.replayed, self._progress.sent
        return self._last

    async def _run(self, selected: Filter, response: ReplayResponse) -> None:
        settings, cipher = self._parts.settings, self._parts.cipher
        try:
            async with open_dead_letters(settings) as reader:
                await count_replayable(reader, selected, self._progress, MAX_DEAD_LETTERS)
                async with open_producer(settings.broker) as producer:
                    await replay_selected(reader, selected, producer, cipher, self._progress)
            response.state = "finished"
        except TooManyDeadLettersError:
            response.problem = (
                f"there are more than {MAX_DEAD_LETTERS} dead letters: use `faust -A sparkle_app replay`"
            )
        except (KafkaError, OSError) as error:
            response.problem = f"broker: {error!r}"
        except Exception:
            logger.exception("replay: unexpected error; please report it")
            response.problem = "internal error; see the log of this worker"
        if response.state != "finished":
            response.state = "failed"
        response.finished_at = rfc3339(self._now())
        logger.info(
            "replay of dead letters %s: %d of %d replayed%s",
            response.state,
            self._progress.replayed,
            self._progress.replayable,
            f"; {response.problem}" if response.problem else "",
        )

    def _now(self) -> int:
        return from_seconds(self._parts.clock.now())


def _shown(selected: Filter) -> dict[str, str]:
    texts = {
        "reason": selected.reason,
        "config": selected.config,
        "host": selected.host,
        "topic": selected.topic,
        "since": selected.since and rfc3339(selected.since),
        "until": selected.until and rfc3339(selected.until),
    }
    return {name: str(value) for name, value in texts.items() if value is not None}
