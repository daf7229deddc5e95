"""The thread of the Kafka client: heartbeats, lost connections, and calls that no unreachable broker holds up."""

import asyncio
import logging
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any, cast

from aiokafka.conn import CloseReason
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    IllegalStateError,
    InconsistentGroupProtocolError,
)
from faust.transport.consumer import ensure_TP
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from sparkle_app.kafka.consumed_logs import ConsumedLogs
from sparkle_app.kafka.fetched_batches import MAX_POLLED_RECORDS, accept_any_batch
from sparkle_app.kafka.rebootstrap import rebootstrap
from sparkle_app.runtime.clock import elapsed

# How long the leaders of partitions may take to say where their logs begin. A partition may have no leader, and Faust
# ends the recovery of tables for good after 90 s.
_LOG_STARTS_SECONDS = 5.0
# Faust checks every 2.5 s, except during rebalances.
_CHECK_SECONDS = 30.0
# Between two attempts to join a group that refuses the worker, and between two lines about it.
_REFUSED_SECONDS = 5.0
_REMINDER_SECONDS = 60.0
_HINTS: Mapping[type[Exception], str] = {
    GroupAuthorizationFailedError: "permit READ on the group",
    InconsistentGroupProtocolError: "another application is a member of it: choose another app_id",
}

logger = logging.getLogger(__name__)


class ConsumerThread(driver.AIOKafkaConsumerThread):
    """The thread of the Kafka client, with the time of the last answered heartbeat.

    Arguments:
        logs: notified of lost connections.
    """

    last_heartbeat = 0.0
    """When the last answered heartbeat was sent, as of :func:`elapsed`."""

    def __init__(self, consumer: Any, logs: ConsumedLogs, **kwargs: Any) -> None:
        super().__init__(consumer, **kwargs)
        self._logs = logs
        # By partition: since when it has had records to fetch, and when that was checked; monotonic seconds.
        self._behind: dict[TP, tuple[float, float]] = {}
        self._refusal = ""
        self._refused_at = self._told_at = 0.0

    async def on_start(self) -> None:
        """Called when the thread starts."""
        accept_any_batch()
        await super().on_start()
        coordinator = self._ensure_consumer()._coordinator
        heartbeat = coordinator._do_heartbeat

        async def recorded() -> bool:
            # The answer may be read minutes later, by a process that was suspended.
            sent_at = elapsed()
            if answered := await heartbeat():
                self.last_heartbeat, self._refusal = sent_at, ""
            return bool(answered)

        coordinator._do_heartbeat = recorded
        coordinator._push_error_to_user = self._refused
        client = self._ensure_consumer()._client
        rebootstrap(client)
        closed = client._on_connection_closed

        def on_closed(connection: Any, reason: CloseReason | None) -> None:
            if reason is not CloseReason.IDLE_DROP:
                self._logs.lost_connections += 1
            closed(connection, reason)

        client._on_connection_closed = on_closed

    async def _fetch_records(
        self,
        consumer: Any,
        active_partitions: set[TP],
        timeout: float | None = None,  # noqa: ASYNC109
        max_records: int | None = None,
    ) -> Any:
        """The next records of one partition, that which has waited for the longest time.

        What was fetched of the others remains compressed meanwhile.
        """
        ready = next((tp for tp in consumer._fetcher._records if tp in active_partitions), None)
        if ready:
            return await super()._fetch_records(consumer, {ready}, 0, max_records or MAX_POLLED_RECORDS)
        # Several may have been fetched at once: a single record is of one of them.
        return await super()._fetch_records(consumer, active_partitions, timeout, 1)

    @property
    def refusal(self) -> str:
        """Why the broker does not accept this worker as a member of the group; empty if it does, or does not answer."""
        is_recent = time.monotonic() - self._refused_at < 3 * _REFUSED_SECONDS
        return self._refusal if is_recent else ""

    async def _refused(self, error: Exception) -> None:
        """Called with an error that aiokafka does not retry: it waits for a call that Faust does not make.

        After a pause, the client joins the group again.
        """
        coordinator, now = self._ensure_consumer()._coordinator, time.monotonic()
        text = " ".join(str(error).split())
        is_new, self._refusal, self._refused_at = text != self._refusal, text, now
        if is_new or now - self._told_at >= _REMINDER_SECONDS:
            self._told_at = now
            logger.warning(
                "consumer group %s: the broker refuses this worker, trying again: %s; %s",
                coordinator.group_id,
                text,
                _HINTS.get(type(error), "see the broker's log"),
            )
        coordinator.request_rejoin()
        await asyncio.wait([coordinator._closing], timeout=_REFUSED_SECONDS)

    async def on_thread_stop(self) -> None:
        """Called when the thread stops."""
        # While a broker is unreachable, aiokafka waits for a fetch that it has cancelled itself.
        with suppress(asyncio.CancelledError):
            await super().on_thread_stop()

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Called every few seconds to log a partition that does not progress.

        Faust compares the present with the last record and the last commit, and would report each partition that gets
        its first record for five minutes.
        """
        # While aiokafka resets an offset that the log does not have, there is no position; Faust would crash.
        with suppress(AssertionError):
            if self._behind_for(now, tp) < self.tp_stream_timeout_secs:
                self._verify_aiokafka_event_path(now, tp)
            else:
                super().verify_event_path(now, tp)

    def _behind_for(self, now: float, tp: TP) -> float:
        """For how many seconds there have been records to fetch, or it has not been known, at each check."""
        end = self.known_end(tp)
        since, checked = self._behind.get(tp, (now, now))
        # The partition may have belonged to another worker meanwhile.
        if now - checked > _CHECK_SECONDS or (end is not None and end <= self._position(tp)):
            since = now
        self._behind[tp] = since, now
        return now - since

    def _position(self, tp: TP) -> int:
        assignment = self._ensure_consumer()._subscription.subscription.assignment
        return cast(int, assignment.state_value(driver.ensure_aiokafka_TP(tp)).position)

    def known_end(self, tp: TP) -> int | None:
        """The end of the log, as the last fetch has seen it."""
        # The partition may have been assigned to another worker meanwhile.
        with suppress(IllegalStateError, AssertionError):
            return cast("int | None", self._ensure_consumer().highwater(tp))
        return None

    async def log_starts(self, partitions: Collection[TP]) -> Mapping[TP, int]:
        """The first offset of each partition's log.

        Raises:
            KafkaError, TimeoutError: if a leader does not answer now.
        """
        # Limited here, not where it is awaited: the thread executes only two calls at a time.
        async with asyncio.timeout(_LOG_STARTS_SECONDS):
            starts = await self._ensure_consumer().beginning_offsets(partitions)
        return {ensure_TP(tp): start or 0 for tp, start in starts.items()}

    async def seek_to_start(self, partitions: Collection[TP]) -> None:
        """Continue at the first records; where a leader does not answer now, the client asks it until it does."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_LOG_STARTS_SECONDS):
                await self._ensure_consumer().seek_to_beginning(*map(driver.ensure_aiokafka_TP, partitions))

    async def leave_group(self) -> None:
        """Leave the consumer group. The client joins it again by itself."""
        await self._ensure_consumer()._coordinator._maybe_leave_group()
