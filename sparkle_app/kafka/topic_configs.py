"""The configuration of existing topics: what a worker cannot work with, and what it adapts to."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from aiokafka import codec
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import IncompatibleBrokerVersion

from sparkle_app.kafka.topology import CLEANUP_POLICY, MAX_MESSAGE_BYTES, MIN_MESSAGE_BYTES, TopicSpec
from sparkle_app.model.errors import ConfigurationError

_SIZE, _COMPRESSION = "max.message.bytes", "compression.type"
_OPTIONAL_CODECS = {"snappy": codec.has_snappy, "lz4": codec.has_lz4, "zstd": codec.has_zstd}

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TopicState:
    """What a worker has to know of the topics on the broker."""

    names: Sequence[str] = ()
    """The topics."""
    max_message_bytes: Mapping[str, int] = field(default_factory=dict)
    """The maximum size of a message in each of the handler's own topics."""
    warnings: Sequence[str] = ()
    """Lines for the log."""


def missing_codecs() -> list[str]:
    """The compression codecs of Kafka that cannot be read, because the package cramjam is not installed."""
    return [name for name, installed in _OPTIONAL_CODECS.items() if not installed()]


async def read_state(admin: AIOKafkaAdminClient, specs: Sequence[TopicSpec]) -> TopicState:
    """Compare the configuration of topics with what a worker expects.

    A topic whose configuration the broker does not return is taken to be as expected.

    Raises:
        ConfigurationError: if a worker cannot work with the configuration of a topic.
    """
    configs = await _describe(admin, [spec.name for spec in specs])
    limits: dict[str, int] = {}
    warnings = []
    if missing := missing_codecs():
        warnings.append(
            f"the package cramjam is not installed: records compressed with {', '.join(missing)} cannot be read"
        )
    for spec in specs:
        found = configs.get(spec.name, {})
        if found.get(_COMPRESSION) in missing:
            raise ConfigurationError(
                f"topic {spec.name}",
                expected=f"the package cramjam, since {_COMPRESSION} is {found[_COMPRESSION]}",
                found="none",
                hint="pip install cramjam",
            )
        if _SIZE in spec.configs:
            limits[spec.name] = _limit(spec.name, int(found.get(_SIZE, MAX_MESSAGE_BYTES)))
            if limits[spec.name] < MAX_MESSAGE_BYTES:
                warnings.append(
                    f"topic {spec.name}: expected {_SIZE}={MAX_MESSAGE_BYTES}, found {limits[spec.name]}: messages are"
                    " split, and larger records are left out of their dead letters"
                )
        expected = spec.configs.get(CLEANUP_POLICY)
        policy = found.get(CLEANUP_POLICY, expected)
        if expected == "delete" and policy != expected:
            raise ConfigurationError(
                f"topic {spec.name}",
                expected=f"{CLEANUP_POLICY}=delete",
                found=f"{policy}, with which the broker refuses messages without a key",
                hint=f"kafka-configs.sh --alter --topic {spec.name} --add-config {CLEANUP_POLICY}=delete",
            )
        if expected and policy != expected:
            warnings.append(
                f"topic {spec.name}: expected {CLEANUP_POLICY}={expected}, found {policy}: log retention deletes"
                " messages that are still needed; change it with kafka-configs.sh"
            )
    return TopicState([spec.name for spec in specs], limits, warnings)


def _limit(topic: str, found: int) -> int:
    if found < MIN_MESSAGE_BYTES:
        raise ConfigurationError(
            f"topic {topic}",
            expected=f"{_SIZE} of at least {MIN_MESSAGE_BYTES}, preferably {MAX_MESSAGE_BYTES}",
            found=str(found),
            hint=f"kafka-configs.sh --alter --topic {topic} --add-config {_SIZE}={MAX_MESSAGE_BYTES}",
        )
    return min(found, MAX_MESSAGE_BYTES)


async def _describe(admin: AIOKafkaAdminClient, names: Sequence[str]) -> dict[str, dict[str, str]]:
    """The configuration of each topic that exists and that this user may describe."""
    # All settings: the embedded broker does not answer requests for some of them.
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    try:
        responses = await admin.describe_configs(resources) if resources else []
    except (IncompatibleBrokerVersion, NotImplementedError):
        return {}
    return {
        name: {entry[0]: entry[1] for entry in entries}
        for response in responses
        for code, _, _, name, entries in response.resources
        if not code
    }
