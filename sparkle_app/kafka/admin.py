"""Creates the topics that a worker needs, and checks those that exist."""

import logging
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from sparkle_app.config.sections import BrokerSettings
from sparkle_app.kafka.connection import security_arguments
from sparkle_app.kafka.diagnosis import explain_failure
from sparkle_app.kafka.topology import TopicSpec
from sparkle_app.model.errors import ConfigurationError, TransientError


async def create_topics(broker: BrokerSettings, specs: Sequence[TopicSpec]) -> None:
    """Create the topics that do not exist, and check the number of partitions of those that do.

    Raises:
        TransientError: if the broker does not answer.
        ConfigurationError: if one of the handler's own topics has another number of partitions, or the broker
            rejects the worker's certificate or login.
    """
    # The caller logs an error once; aiokafka would log it many times.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    try:
        async with _admin(broker) as admin:
            await _create(admin, broker, specs)
            await _check_partitions(admin, broker, [spec.name for spec in specs if spec.by_host])
    finally:
        logging.getLogger("aiokafka").setLevel(logging.NOTSET)


async def check_topics(broker: BrokerSettings, specs: Sequence[TopicSpec]) -> tuple[int, list[str]]:
    """Check topics as :func:`create_topics` does, without creating any.

    Returns:
        The number of topics on the broker, and the names of the missing ones.

    Raises:
        TransientError, ConfigurationError: as :func:`create_topics`.
    """
    async with _admin(broker) as admin:
        existing = set(await admin.list_topics())
        by_host = [spec.name for spec in specs if spec.by_host and spec.name in existing]
        await _check_partitions(admin, broker, by_host)
        return len(existing), [spec.name for spec in await _missing(admin, broker, existing, specs)]


async def topics_with_messages(broker: BrokerSettings, specs: Sequence[TopicSpec]) -> list[str]:
    """The topics by host to which messages have been produced, even if they are not retained any more.

    Raises:
        TransientError, ConfigurationError: as :func:`create_topics`.
    """
    async with _admin(broker) as admin:
        existing = set(await admin.list_topics())
        names = [spec.name for spec in specs if spec.by_host and spec.name in existing]
        described = await admin.describe_topics(names) if names else []
    if not described:
        return []
    consumer = AIOKafkaConsumer(bootstrap_servers=broker.url, **security_arguments(broker))
    try:
        await consumer.start()
        ends = await consumer.end_offsets(
            [
                TopicPartition(each["topic"], partition["partition"])
                for each in described
                for partition in each["partitions"]
            ]
        )
    except (KafkaError, OSError) as error:
        raise TransientError(await explain_failure(broker, error)) from error
    finally:
        await consumer.stop()
    return sorted({at.topic for at, offset in ends.items() if offset})


@asynccontextmanager
async def _admin(broker: BrokerSettings) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(
        bootstrap_servers=broker.url,
        request_timeout_ms=10_000,
        **security_arguments(broker),
    )
    try:
        await admin.start()
        yield admin
    except (KafkaError, OSError) as error:
        raise TransientError(await explain_failure(broker, error)) from error
    finally:
        await admin.close()


async def _check_partitions(admin: AIOKafkaAdminClient, broker: BrokerSettings, names: list[str]) -> None:
    for described in await admin.describe_topics(names) if names else []:
        found = len(described["partitions"])
        if not found:
            raise TransientError(f"topic {described['topic']} was created, but is not available yet")
        if found != broker.partitions:
            raise ConfigurationError(
                "broker.partitions",
                expected=f"{broker.partitions} partitions of topic {described['topic']}",
                found=str(found),
                hint=f"set broker.partitions to {found}; it cannot be changed once the topics exist",
            )


async def _missing(
    admin: AIOKafkaAdminClient, broker: BrokerSettings, existing: Collection[str], specs: Sequence[TopicSpec]
) -> list[TopicSpec]:
    """The topics that do not exist."""
    missing = [spec for spec in specs if spec.name not in existing]
    brokers = len((await admin.describe_cluster())["brokers"])
    if missing and brokers < broker.replication:
        raise TransientError(
            f"{brokers} of the {broker.replication} brokers that broker.replication requires"
        )
    return missing


async def _create(admin: AIOKafkaAdminClient, broker: BrokerSettings, specs: Sequence[TopicSpec]) -> None:
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
        # Another worker may have created it in the meantime.
        if code and error is not TopicAlreadyExistsError:
            raise TransientError(f"topic {name}: {error.__name__}")
