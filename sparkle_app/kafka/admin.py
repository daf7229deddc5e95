"""Creates the topics that a worker needs, and checks those that exist."""

import logging
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    InvalidConfigurationError,
    KafkaError,
    PolicyViolationError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
    for_code,
)

from sparkle_app.config.sections import BrokerSettings
from sparkle_app.kafka.connection import security_arguments
from sparkle_app.kafka.diagnosis import explain_failure
from sparkle_app.kafka.topic_configs import TopicState, read_state
from sparkle_app.kafka.topology import TopicSpec
from sparkle_app.model.errors import ConfigurationError, TransientError

# Reasons to refuse a topic that a retry does not change.
_REFUSALS = (
    PolicyViolationError,
    InvalidConfigurationError,
    TopicAuthorizationFailedError,
    ClusterAuthorizationFailedError,
)


async def create_topics(broker: BrokerSettings, specs: Sequence[TopicSpec]) -> TopicState:
    """Create the topics that do not exist, and check partitions and configuration of those that do.

    Raises:
        TransientError: if the broker does not answer.
        ConfigurationError: if one of the handler's own topics has another number of partitions or a configuration that
            a worker cannot work with, or the broker refuses a topic, or the worker's certificate or login.
    """
    # The caller logs an error once; aiokafka would log it many times.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    try:
        async with _admin(broker) as admin:
            await _create(admin, broker, specs)
            await _check_partitions(admin, broker, [spec.name for spec in specs if spec.by_host])
            return await read_state(admin, specs)
    finally:
        logging.getLogger("aiokafka").setLevel(logging.NOTSET)


async def check_topics(
    broker: BrokerSettings, specs: Sequence[TopicSpec]
) -> tuple[int, list[str], TopicState]:
    """Check topics as :func:`create_topics` does, without creating any.

    Returns:
        The number of topics on the broker, the names of the missing ones, and the state of the others.

    Raises:
        TransientError, ConfigurationError: as :func:`create_topics`.
    """
    async with _admin(broker) as admin:
        existing = set(await admin.list_topics())
        by_host = [spec.name for spec in specs if spec.by_host and spec.name in existing]
        await _check_partitions(admin, broker, by_host)
        missing = [spec.name for spec in await _missing(admin, broker, existing, specs)]
        state = await read_state(admin, [spec for spec in specs if spec.name in existing])
        return len(existing), missing, state


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
    configs = {spec.name: spec.configs for spec in specs}
    for name, code, *message in response.topic_errors:
        error = for_code(code)
        # Another worker may have created it in the meantime.
        if not code or error is TopicAlreadyExistsError:
            continue
        reason = ": ".join([error.__name__, *filter(None, message)])
        if issubclass(error, _REFUSALS):
            wanted = " ".join(f"{key}={value}" for key, value in configs[name].items())
            raise ConfigurationError(
                f"topic {name}",
                expected=f"the broker to create it with {broker.partitions} partitions and {wanted}",
                found=reason,
                hint="permit it, or create the topic with a configuration that the cluster permits",
            )
        raise TransientError(f"topic {name}: {reason}")
