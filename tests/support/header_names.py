"""Produces records as clients do that do not encode the names of headers in UTF-8."""

import asyncio

from aiokafka import AIOKafkaProducer
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy

_LIMIT = 1 << 20


class _Name(str):
    """Bytes that are not UTF-8 are lone surrogates."""

    __slots__ = ()

    def encode(self, *_: object) -> bytes:
        return super().encode("utf-8", "surrogateescape")


def produce_with_header(
    bootstrap: str, topic: str, values: list[bytes], name: bytes, compression: int = 0
) -> None:
    """Produce records to partition 0, in one batch, of which the last one has a header with this name.

    Arguments:
        compression: 0: none, 1: gzip.
    """

    async def send() -> None:
        producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
        await producer.start()
        try:
            batch = producer.create_batch()
            batch._builder = _DefaultRecordBatchBuilderPy(2, compression, 0, -1, -1, -1, _LIMIT)
            for value in values:
                headers = (
                    [(_Name(name.decode("utf-8", "surrogateescape")), b"x")] if value is values[-1] else []
                )
                # A compacted topic requires a key.
                assert batch.append(key=b"key", value=value, timestamp=None, headers=headers)
            await (await producer.send_batch(batch, topic, partition=0))
        finally:
            await producer.stop()

    asyncio.run(send())
