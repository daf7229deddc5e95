"""The topics that a worker needs: made where they are not there, checked where they are."""

import logging
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from sparkle_app.config.settings import Broker
from sparkle_app.kafka.connection import security_arguments, why_not
from sparkle_app.kafka.topology import TopicSpec
from sparkle_app.model.errors import StartupFault, TransientFault


async def make_topics(broker: Broker, specs: Sequence[TopicSpec]) -> None:
    """Create the topics that are not there yet, and check the number of partitions of those that are.

    Raises:
        TransientFault: when the broker does not answer.
        StartupFault: when one of the handler's own topics has another number of partitions, or the broker refuses the
            worker's certificate or login.
    """
    # What its lines say, many times, the caller says once.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    try:
        async with _admin(broker) as admin:
            await _create(admin, broker, specs)
            await _check_partitions(admin, broker, [spec.name for spec in specs if spec.by_host])
    finally:
        logging.getLogger("aiokafka").setLevel(logging.NOTSET)


async def examine_topics(broker: Broker, specs: Sequence[TopicSpec]) -> tuple[int, list[str]]:
    """Find what :func:`make_topics` would, and change nothing.

    Returns:
        How many topics the broker has, and those that a worker would create.

    Raises:
        TransientFault, StartupFault: as :func:`make_topics`.
    """
    async with _admin(broker) as admin:
        existing = set(await admin.list_topics())
        there = [spec.name for spec in specs if spec.by_host and spec.name in existing]
        await _check_partitions(admin, broker, there)
        return len(existing), [spec.name for spec in await _missing(admin, broker, existing, specs)]


@asynccontextmanager
async def _admin(broker: Broker) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(
        bootstrap_servers=broker.url,
        request_timeout_ms=10_000,
        **security_arguments(broker),
    )
    try:
        await admin.start()
        yield admin
    except (KafkaError, OSError) as error:
        raise TransientFault(await why_not(broker, error)) from error
    finally:
        await admin.close()


async def _check_partitions(admin: AIOKafkaAdminClient, broker: Broker, names: list[str]) -> None:
    for described in await admin.describe_topics(names) if names else []:
        found = len(described["partitions"])
        if not found:
            raise TransientFault(f"topic {described['topic']} was made, and is not there yet")
        if found != broker.partitions:
            raise StartupFault(
                "broker.partitions",
                expected=f"{broker.partitions} partitions of topic {described['topic']}",
                found=str(found),
                hint=f"set broker.partitions to {found}; it cannot change once the topics are made",
            )


async def _missing(
    admin: AIOKafkaAdminClient, broker: Broker, existing: Collection[str], specs: Sequence[TopicSpec]
) -> list[TopicSpec]:
    """The topics that do not exist."""
    missing = [spec for spec in specs if spec.name not in existing]
    brokers = len((await admin.describe_cluster())["brokers"])
    if missing and brokers < broker.replication:
        raise TransientFault(f"{brokers} of the {broker.replication} brokers that broker.replication needs")
    return missing


async def _create(admin: AIOKafkaAdminClient, broker: Broker, specs: Sequence[TopicSpec]) -> None:
    existing = set(await admin.list_topics())
    new = [
        NewTopic(spec.name, broker.partitions, broker.replication, topic_configs=spec.configs)
        for spec in await _missing(admin, broker, existing, specs)
    ]
    if not new:
        return
    response = await admin.create_topics(new)
    for name, code, *_ in response.topic_errors:
        error = for_code(code)
        # Another worker may have been quicker.
        if code and error is not TopicAlreadyExistsError:
            raise TransientFault(f"topic {name}: {error.__name__}")
