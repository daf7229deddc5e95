"""The topic watch: notices topics that are deleted, created again, or restored from an older copy."""

import asyncio
import logging
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import NoReturn

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from faust.types import TP

from sparkle_app.config.sections import BrokerSettings
from sparkle_app.kafka.connection import security_arguments
from sparkle_app.kafka.consumed_logs import replaced_logs
from sparkle_app.kafka.consumer import BatchingConsumer
from sparkle_app.kafka.membership import Membership
from sparkle_app.kafka.topic_ids import MISSING, topic_ids
from sparkle_app.model.errors import ConfigurationError
from sparkle_app.runtime.process import exit_process

POLL_SECONDS = 3.0
_REQUEST_TIMEOUT_MS = 5_000
_REWIND_SECONDS = 10
_REPLACED = "the logs on the broker are not those that were consumed"
_AGAIN = (
    "exiting, so that the next start checks and creates the topics; if the samples topic of a plugin is among them, run"
    " `faust -A sparkle_app rebuild` then"
)

logger = logging.getLogger(__name__)


class TopicWatch:
    """The state of the worker's topics, as of the last poll."""

    def __init__(self) -> None:
        self._ids: dict[str, str] = {}
        self._missing: set[str] = set()

    def poll(self, ids: Mapping[str, str | None]) -> tuple[set[str], set[str]]:
        """Compare the ids of topics with those of the first poll.

        Returns:
            The topics that do not exist, for the second time in a row: a broker that has just started may not know all
            of them yet. And those that were created again.
        """
        missing = {name for name, found in ids.items() if found == MISSING}
        lost, self._missing = missing & self._missing, missing
        again = {name for name, found in ids.items() if found and self._ids.setdefault(name, found) != found}
        return lost, again

    @property
    def problem(self) -> str:
        """Why the worker is not ready; empty if no topic is missing."""
        return f"missing topics: {', '.join(sorted(self._missing))}" if self._missing else ""


async def watch_topics(broker: BrokerSettings, topics: Collection[str], group: Membership) -> None:
    """Poll as long as the worker runs, and exit with one line if a topic is not the one that was consumed.

    Before that, the first offsets of its partitions are committed, so that they are read from the beginning: readings
    that are stored already are recognized.
    """
    watch = TopicWatch()
    suspects: Collection[TP] = ()
    admin: AIOKafkaAdminClient | None = None
    while True:
        try:
            admin = admin or await _connected(broker)
            lost, again = watch.poll(await topic_ids(admin, topics))
            group.problem = watch.problem or (_REPLACED if suspects else "")
            if lost:
                exit_process(f"topics do not exist any more: {', '.join(sorted(lost))}; {_AGAIN}")
            if again:
                await _rewind_and_exit(
                    group.consumer,
                    {tp for tp in group.consumer.assignment() if tp.topic in again},
                    f"topics were deleted and created again: {', '.join(sorted(again))}; {_AGAIN}",
                )
            suspects = await _check_logs(broker, group.consumer, suspects)
        except (KafkaError, OSError, TimeoutError, ConfigurationError, asyncio.CancelledError) as error:
            # A client of aiokafka that is stopped may raise the cancellation of its own tasks.
            if isinstance(error, asyncio.CancelledError) and _is_cancelled():
                raise
            # The watchdog logs that the broker does not answer.
            if admin:
                with suppress(Exception):
                    await admin.close()
                admin = None
        await asyncio.sleep(POLL_SECONDS)


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is None or bool(task.cancelling())


async def _check_logs(
    broker: BrokerSettings, consumer: BatchingConsumer, suspects: Collection[TP]
) -> Collection[TP]:
    """Check the logs if a connection was lost; returns the partitions to check once more."""
    logs = consumer.logs
    if not logs.unverified:
        return ()
    lost, marks = logs.lost_connections, logs.marks()
    replaced = await replaced_logs(broker, marks)
    if not replaced:
        logs.verified = lost
        return ()
    confirmed = {tp: text for tp, text in replaced.items() if tp in suspects}
    if confirmed:
        tp, text = next(iter(confirmed.items()))
        await _rewind_and_exit(
            consumer,
            replaced.keys(),
            f"topic {tp.topic}, partition {tp.partition}: expected {text}: the broker was restored from an older copy"
            f" (partitions: {len(replaced)}); exiting, to read them from the beginning: no reading is stored twice;"
            " run `faust -A sparkle_app rebuild` then",
        )
    return replaced.keys()


async def _rewind_and_exit(consumer: BatchingConsumer, partitions: Collection[TP], line: str) -> NoReturn:
    # In a rebalance, a commit may take until the worker has joined again: then the offsets on the broker count.
    with suppress(TimeoutError):
        async with asyncio.timeout(_REWIND_SECONDS):
            await consumer.rewind(partitions)
    exit_process(line)


async def _connected(broker: BrokerSettings) -> AIOKafkaAdminClient:
    admin = AIOKafkaAdminClient(
        bootstrap_servers=broker.url, request_timeout_ms=_REQUEST_TIMEOUT_MS, **security_arguments(broker)
    )
    try:
        await admin.start()
    except BaseException:
        await admin.close()
        raise
    return admin
