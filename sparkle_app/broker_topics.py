"""The topics that a worker needs: made where they are not there, checked where they are."""

import logging
from collections.abc import AsyncIterator, Collection, Iterable
from contextlib import asynccontextmanager

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from sparkle_app import topics
from sparkle_app.broker import security_arguments, why_not
from sparkle_app.errors import StartupFault, TransientFault
from sparkle_app.plugin.discovery import Plugins
from sparkle_app.settings import Settings


async def make_topics(settings: Settings, plugins: Plugins) -> None:
    """Create the topics that are not there yet, and check the number of partitions of those that are.

    Raises:
        TransientFault: when the broker does not answer.
        StartupFault: when one of the handler's own topics has another number of partitions, or the broker refuses the
            worker's certificate or login.
    """
    # What its lines say, many times, the caller says once.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    try:
        async with _admin(settings) as admin:
            await _create(admin, settings, _needed(settings, plugins))
            await _check_partitions(admin, settings, _by_host(settings, plugins))
    finally:
        logging.getLogger("aiokafka").setLevel(logging.NOTSET)


async def examine_topics(settings: Settings, plugins: Plugins) -> tuple[int, list[str]]:
    """Find what :func:`make_topics` would, and change nothing.

    Returns:
        How many topics the broker has, and those that a worker would create.

    Raises:
        TransientFault, StartupFault: as :func:`make_topics`.
    """
    async with _admin(settings) as admin:
        existing = set(await admin.list_topics())
        there = [name for name in _by_host(settings, plugins) if name in existing]
        await _check_partitions(admin, settings, there)
        return len(existing), await _missing(admin, settings, existing, _needed(settings, plugins))


@asynccontextmanager
async def _admin(settings: Settings) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(
        bootstrap_servers=settings.broker.url,
        request_timeout_ms=10_000,
        **security_arguments(settings.broker),
    )
    try:
        await admin.start()
        yield admin
    except (KafkaError, OSError) as error:
        raise TransientFault(await why_not(settings.broker, error)) from error
    finally:
        await admin.close()


def _by_host(settings: Settings, plugins: Plugins) -> list[str]:
    """The topics in which a host has its partition: all of them need the same number."""
    app_id, resolution = settings.app_id, settings.aggregates.bucket_seconds
    return [
        *(topics.samples_topic(app_id, name) for name in plugins.installed),
        *(topics.changelog_topic(app_id, name, resolution) for name in plugins.installed),
    ]


def _needed(settings: Settings, plugins: Plugins) -> dict[str, dict[str, str]]:
    """All topics, each with its configs."""
    app_id = settings.app_id
    large = {"max.message.bytes": str(topics.LARGEST_MESSAGE)}
    resolution = settings.aggregates.bucket_seconds
    return {
        # The broker's time cannot be wrong with the host's clock.
        **{name: {"message.timestamp.type": "LogAppendTime"} for name in plugins.topics},
        topics.dead_letter_topic(app_id): {**large, "cleanup.policy": "compact"},
        **{topics.samples_topic(app_id, name): large for name in plugins.installed},
        **{
            topics.changelog_topic(app_id, name, resolution): {**large, "cleanup.policy": "compact"}
            for name in plugins.installed
        },
    }


async def _check_partitions(admin: AIOKafkaAdminClient, settings: Settings, names: list[str]) -> None:
    for described in await admin.describe_topics(names) if names else []:
        found = len(described["partitions"])
        if not found:
            raise TransientFault(f"topic {described['topic']} was made, and is not there yet")
        if found != settings.broker.partitions:
            raise StartupFault(
                "broker.partitions",
                expected=f"{settings.broker.partitions} partitions of topic {described['topic']}",
                found=str(found),
                hint=f"set broker.partitions to {found}; it cannot change once the topics are made",
            )


async def _missing(
    admin: AIOKafkaAdminClient, settings: Settings, existing: Collection[str], wanted: Iterable[str]
) -> list[str]:
    """The wanted topics that do not exist."""
    missing = [name for name in wanted if name not in existing]
    brokers = len((await admin.describe_cluster())["brokers"])
    if missing and brokers < settings.broker.replication:
        raise TransientFault(
            f"{brokers} of the {settings.broker.replication} brokers that broker.replication needs"
        )
    return missing


async def _create(admin: AIOKafkaAdminClient, settings: Settings, wanted: dict[str, dict[str, str]]) -> None:
    existing = set(await admin.list_topics())
    new = [
        NewTopic(name, settings.broker.partitions, settings.broker.replication, topic_configs=wanted[name])
        for name in await _missing(admin, settings, existing, wanted)
    ]
    if not new:
        return
    response = await admin.create_topics(new)
    for name, code, *_ in response.topic_errors:
        error = for_code(code)
        # Another worker may have been quicker.
        if code and error is not TopicAlreadyExistsError:
            raise TransientFault(f"topic {name}: {error.__name__}")
