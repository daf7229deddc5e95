"""What is logged of a partition that does not progress: with aiokafka's state of a partition, and a clock by hand."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

from aiokafka import TopicPartition
from aiokafka.consumer.subscription_state import SubscriptionState
from faust.types import TP

from sparkle_app.kafka.consumer_thread import ConsumerThread

AT = TP("telemetry", 0)
CHECKS = 2.5
TIMEOUT = 300.0


class Partition:
    """A partition that is consumed since the time 0.0."""

    def __init__(self) -> None:
        subscriptions = SubscriptionState(loop=asyncio.get_running_loop())
        subscriptions.subscribe({AT.topic})
        subscriptions.assign_from_subscribed({TopicPartition(*AT)})
        self.state = subscriptions.subscription.assignment.state_value(TopicPartition(*AT))
        self.state.seek(0)
        self.state.highwater, self.state.timestamp = 0, 1.0
        self.inbound: dict[TP, float] = {}
        self.now = 0.0
        self.errors: list[str] = []
        app = SimpleNamespace(
            monitor=SimpleNamespace(stream_inbound_time=self.inbound),
            topics=SimpleNamespace(acks_enabled_for=lambda _: True),
            conf=SimpleNamespace(
                stream_processing_timeout=TIMEOUT, broker_commit_livelock_soft_timeout=TIMEOUT
            ),
        )
        consumer = SimpleNamespace(
            _subscription=subscriptions,
            _fetcher=SimpleNamespace(_subscriptions=subscriptions),
            highwater=lambda _: self.state.highwater,
        )
        self.thread = cast(Any, ConsumerThread.__new__(ConsumerThread))
        self.thread._behind = {}
        self.thread._consumer = consumer
        self.thread.consumer = SimpleNamespace(app=app)
        self.thread.time_started = 0.0
        self.thread.tp_last_committed_at = {}
        for limit in ("stream", "commit", "fetch_request"):
            setattr(self.thread, f"tp_{limit}_timeout_secs", TIMEOUT)
        self.thread.log = SimpleNamespace(error=lambda text, *args: self.errors.append(text % args))

    def check(self, seconds: float) -> None:
        """Check every 2.5 seconds for so long."""
        for _ in range(round(seconds / CHECKS)):
            self.now += CHECKS
            self.state.timestamp = 1000 * self.now
            self.thread.verify_event_path(self.now, AT)

    def consume(self) -> None:
        """Fetch, process and commit all records."""
        self.state.consumed_to(self.state.highwater)
        self.inbound[AT] = self.thread.tp_last_committed_at[AT] = self.now


async def test_nothing_is_logged_when_a_quiet_partition_gets_records() -> None:
    partition = Partition()
    for number in range(1, 4):
        partition.check(400)
        partition.state.highwater = number
        partition.check(CHECKS)
        partition.inbound[AT] = partition.now
        partition.check(CHECKS)
        partition.consume()
    assert partition.errors == []


async def test_a_partition_without_progress_is_logged() -> None:
    partition = Partition()
    partition.state.highwater = 5
    partition.check(295)
    assert partition.errors == []
    partition.check(10)
    assert partition.errors
    assert "has not started processing" in partition.errors[0]


async def test_a_partition_that_another_worker_had_meanwhile_is_not_logged() -> None:
    partition = Partition()
    partition.state.highwater = 1
    partition.check(10)
    partition.now += 1000
    partition.check(10)
    assert partition.errors == []


async def test_a_partition_without_a_position_is_no_error() -> None:
    partition = Partition()
    partition.state.highwater = 1
    partition.state.await_reset(1)
    partition.check(10)
    assert partition.errors == []
