"""The ids of topics: a topic that is deleted and created again has another one.

aiokafka has no request for them, so this one is declared here: Metadata, version 12, of Kafka 3.1 and later
(https://kafka.apache.org/protocol#The_Messages_Metadata).
"""

from collections.abc import Collection
from io import BytesIO
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    IncompatibleBrokerVersion,
    NoError,
    UnknownTopicOrPartitionError,
    for_code,
)
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Schema,
    TaggedFields,
)

MISSING = ""
"""Instead of an id: the topic does not exist."""
_NO_ID = bytes(16)


class _Uuid:
    """16 bytes."""

    @classmethod
    def encode(cls, value: bytes) -> bytes:
        return value

    @classmethod
    def decode(cls, data: BytesIO) -> bytes:
        return data.read(16)

    @classmethod
    def repr(cls, value: bytes) -> str:
        return value.hex()


class _Response(Response):  # type: ignore[misc]
    API_KEY = 3
    API_VERSION = 12
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            CompactArray(
                ("node_id", Int32),
                ("host", CompactString()),
                ("port", Int32),
                ("rack", CompactString()),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_id", CompactString()),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("name", CompactString()),
                ("topic_id", _Uuid),
                ("is_internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        ("error_code", Int16),
                        ("partition_index", Int32),
                        ("leader_id", Int32),
                        ("leader_epoch", Int32),
                        ("replica_nodes", CompactArray(Int32)),
                        ("isr_nodes", CompactArray(Int32)),
                        ("offline_replicas", CompactArray(Int32)),
                        ("tags", TaggedFields),
                    ),
                ),
                ("topic_authorized_operations", Int32),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class _RequestStruct(RequestStruct):  # type: ignore[misc]
    FLEXIBLE_VERSION = True
    API_KEY = 3
    API_VERSION = 12
    RESPONSE_TYPE = _Response
    SCHEMA = Schema(
        (
            "topics",
            CompactArray(("topic_id", _Uuid), ("name", CompactString()), ("tags", TaggedFields)),
        ),
        ("allow_auto_topic_creation", Boolean),
        ("include_topic_authorized_operations", Boolean),
        ("tags", TaggedFields),
    )


class _TopicIdsRequest(Request[_RequestStruct]):  # type: ignore[misc]
    API_KEY = 3

    def __init__(self, names: Collection[str]) -> None:
        self._topics: list[tuple[bytes, str, dict[int, bytes]]] = [(_NO_ID, name, {}) for name in names]

    def build(self, request_struct_class: Any) -> Any:
        return request_struct_class(self._topics, False, False, {})


async def topic_ids(admin: AIOKafkaAdminClient, names: Collection[str]) -> dict[str, str | None]:
    """The id of each topic; :data:`MISSING` if it does not exist, None if the broker does not say.

    Creates no topic.

    Raises:
        KafkaError: if the broker does not answer.
    """
    try:
        response = await admin._send_request(_TopicIdsRequest(names))
    except (IncompatibleBrokerVersion, NotImplementedError):
        existing = set(await admin.list_topics())
        return {name: None if name in existing else MISSING for name in names}
    return {topic[1]: _id(topic[0], topic[2]) for topic in response.topics}


def _id(code: int, topic_id: bytes) -> str | None:
    error = for_code(code)
    if error is UnknownTopicOrPartitionError:
        return MISSING
    return topic_id.hex() if error is NoError and topic_id != _NO_ID else None
