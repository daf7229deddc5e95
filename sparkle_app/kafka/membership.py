"""A worker's membership in the consumer group, and the recovery of its tables."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, cast

from aiokafka.errors import IllegalStateError
from faust.tables.manager import TableManager
from faust.types import TP, AppT

from sparkle_app.kafka.consumer import SESSION_SECONDS, BatchingConsumer, PartitionLag


class Membership:
    """What the Faust application knows of the consumer group. Other parts get this object, not the application."""

    def __init__(self, app: AppT) -> None:
        self._app = app
        self.problem = ""
        """Why the worker cannot work although it is a member; empty if it can."""

    @property
    def url(self) -> str:
        """The URL at which other workers reach this one."""
        return str(self._app.conf.canonical_url)

    @property
    def generation(self) -> int:
        """The generation of the consumer group. Every rebalance increases it."""
        return int(self._app.consumer_generation_id)

    def keeps(self, generation: int) -> bool:
        """Whether the partitions are those of a generation, and their tables are not being recovered."""
        app = self._app
        return not app.rebalancing and not app.in_recovery and self.generation == generation

    @property
    def joining(self) -> bool:
        """Whether this worker is waiting for the assignment of partitions."""
        return bool(self._app.rebalancing or not self.last_heartbeat)

    @property
    def joined(self) -> bool:
        """Whether partitions have been assigned to this worker."""
        return self.complete or bool(self._app.assignor.assigned_actives())

    @property
    def complete(self) -> bool:
        """Whether this worker has its partitions, and their tables are recovered."""
        app = self._app
        return bool(app.tables.actives_ready and not app.rebalancing and not app.in_recovery)

    @property
    def last_heartbeat(self) -> float:
        """When the last answered heartbeat was sent, as of :func:`elapsed`; 0 before the first assignment."""
        return self.consumer.last_heartbeat

    @property
    def in_session(self) -> bool:
        """Whether a heartbeat was answered within the session timeout: the partitions are still this worker's."""
        return self.consumer.in_session()

    @property
    def refusal(self) -> str:
        """Why the broker does not accept this worker as a member; empty if it does."""
        return self.consumer.refusal

    @property
    def grace_period(self) -> float:
        """Seconds without a heartbeat after which the broker counts as unreachable."""
        # The coordinator answers joining workers only when all members have joined.
        return SESSION_SECONDS + (self._app.conf.broker_rebalance_timeout if self.joining else 0)

    async def rejoin(self) -> None:
        """Leave the consumer group and join it again: consumption continues at the committed offsets."""
        await self.consumer.rejoin()

    def owners(self, changelog_topic: str) -> Mapping[int, str]:
        """The URL of the worker that owns each partition of a table, as of the last rebalance."""
        workers = self._app.assignor.tables_metadata()
        return {
            partition: url for url, topics in workers.items() for partition in topics.get(changelog_topic, ())
        }

    def lags(self) -> list[PartitionLag]:
        """What this worker consumes, and what it has not consumed yet, without asking the broker."""
        consumer = self.consumer
        changelogs = self._app.tables.changelog_topics
        return [consumer.lag(tp) for tp in sorted(consumer.assignment()) if tp.topic not in changelogs]

    @property
    def consumer(self) -> BatchingConsumer:
        """The consumer."""
        return cast(BatchingConsumer, self._app.consumer)


class TableRecovery:
    """The recovery of Faust's tables from their changelog topics."""

    def __init__(self, app: AppT) -> None:
        self._app = app

    @property
    def generation(self) -> int | None:
        """The generation of the consumer group whose tables are recovered; None if the next recovery is about to begin.

        The application's own generation may be newer: the rebalance has not reached the tables yet.
        """
        recovery = self._tables.recovery
        return None if recovery.signal_recovery_start.is_set() else recovery._generation_id

    @property
    def ended(self) -> bool:
        """Whether Faust will never recover a table again, although the worker goes on.

        Its task takes a step that lasts longer than ``broker_request_timeout`` for a request to stop, and ends.
        """
        recovery = self._tables.recovery
        running = {cast(Any, task).__wrapped__.__name__ for task in recovery._futures}
        # The service starts its tasks at once, so none means that it was not started, or has stopped.
        return bool(running) and "_restart_recovery" not in running and not recovery.should_stop

    def remaining(self) -> Mapping[TP, int]:
        """The last offset that was read of each changelog partition that is not read to its end; -1: none.

        Empty unless tables are being recovered, the consumer fetches, and all that it has fetched has been processed.
        """
        tables = self._tables
        recovery = tables.recovery
        if not (recovery.in_recovery and self._consumer.flow_active and tables.changelog_queue.empty()):
            return {}
        return {tp: stats.offset for tp, stats in recovery.active_stats().items()}

    async def position(self, tp: TP) -> int | None:
        """The offset that the consumer will fetch next; None if it is not known, as during a rebalance."""
        with suppress(IllegalStateError):
            return await self._consumer.position(tp)
        return None

    async def seek(self, offsets: Mapping[TP, int]) -> None:
        """Continue at these offsets, unless a rebalance has begun."""
        with suppress(IllegalStateError):
            await self._consumer.seek_wait(offsets)

    def skip(self, tp: TP) -> None:
        """Count a partition as read to its end."""
        recovery = self._tables.recovery
        recovery.active_offsets[tp] = recovery.active_highwaters[tp]

    @property
    def _tables(self) -> TableManager:
        return cast(TableManager, self._app.tables)

    @property
    def _consumer(self) -> BatchingConsumer:
        return cast(BatchingConsumer, self._app.consumer)
