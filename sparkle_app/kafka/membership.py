"""This worker's place in the consumer group: what it holds, and whether it surely still holds it."""

from collections.abc import Mapping
from typing import cast

from faust.types import AppT

from sparkle_app.kafka.consumer import SESSION_SECONDS, BatchingConsumer


class Membership:
    """What Faust's application knows of the group; the only view that others have of the application."""

    def __init__(self, app: AppT) -> None:
        self._app = app

    @property
    def url(self) -> str:
        """Where other workers reach this one."""
        return str(self._app.conf.canonical_url)

    @property
    def generation(self) -> int:
        """Of the consumer group; it grows with each rebalance."""
        return int(self._app.consumer_generation_id)

    @property
    def joining(self) -> bool:
        """Whether the group is about to give this worker its partitions."""
        return bool(self._app.rebalancing or not self.last_heartbeat)

    @property
    def joined(self) -> bool:
        """Whether the group has given this worker partitions."""
        return self.complete or bool(self._app.assignor.assigned_actives())

    @property
    def complete(self) -> bool:
        """Whether this worker has its partitions, and their tables are recovered."""
        app = self._app
        return bool(app.tables.actives_ready and not app.rebalancing and not app.in_recovery)

    @property
    def last_heartbeat(self) -> float:
        """When the broker answered last, in monotonic seconds; 0 before it has given partitions."""
        return self._consumer.last_heartbeat

    @property
    def in_session(self) -> bool:
        """Whether the partitions are surely still this worker's: the broker has answered within the session."""
        return self._consumer.in_session()

    @property
    def grace_period(self) -> float:
        """Seconds of the broker's silence that mean nothing."""
        # Workers that join a group are answered when all have come.
        return SESSION_SECONDS + (self._app.conf.broker_rebalance_timeout if self.joining else 0)

    def owners(self, changelog_topic: str) -> Mapping[int, str]:
        """The web address of the worker that holds each partition of a table, as the last rebalance left them."""
        workers = self._app.assignor.tables_metadata()
        return {
            partition: url for url, topics in workers.items() for partition in topics.get(changelog_topic, ())
        }

    @property
    def _consumer(self) -> BatchingConsumer:
        return cast(BatchingConsumer, self._app.consumer)
