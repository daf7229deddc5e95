"""Records whose header names are not UTF-8: Kafka accepts them, and aiokafka would never get past one."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import MemoryRecords

# Of each record batch: its offset, then its length without these two.
_LENGTH = slice(8, 12)
_OVERHEAD = 12


def accept_header_names() -> None:
    """Make all consumers of this process accept any header name; a byte that is not UTF-8 becomes ``\\xNN``."""
    fetcher.MemoryRecords = _Records


class _Records:
    """The record batches of a response, as the fetcher expects them.

    Arguments:
        data: Kafka's message format (https://kafka.apache.org/documentation/#recordbatch).
    """

    def __init__(self, data: bytes) -> None:
        self._records = MemoryRecords(data)
        self._data = memoryview(data)

    def size_in_bytes(self) -> int:
        return int(self._records.size_in_bytes())

    def has_next(self) -> bool:
        return bool(self._records.has_next())

    def next_batch(self) -> Any:
        length = _OVERHEAD + int.from_bytes(self._data[_LENGTH])
        batch, self._data = self._data[:length], self._data[length:]
        return _Batch(self._records.next_batch(), batch)


class _Batch:
    """A record batch of aiokafka."""

    def __init__(self, batch: Any, data: memoryview) -> None:
        self._batch = batch
        self._data = data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __next__(self) -> Any:
        return next(self._batch)

    def __iter__(self) -> Iterator[Any]:
        number = 0
        try:
            for record in self._batch:
                number += 1
                yield record
        except (UnicodeDecodeError, CorruptRecordException) as error:
            # The parser that aiokafka has in Python raises it as the cause of another one.
            if not isinstance(error.__cause__ or error, UnicodeDecodeError):
                raise
            yield from islice(_LenientBatch(bytes(self._data)), number, None)


class _LenientBatch(_DefaultRecordBatchPy):  # type: ignore[misc]  # aiokafka marks it as final.
    _buffer: bytearray

    def _maybe_uncompress(self) -> None:
        super()._maybe_uncompress()
        self._buffer = _Buffer(self._buffer)


class _Buffer(bytearray):
    """aiokafka decodes slices of it, which are the names of headers."""

    def __getitem__(self, key: Any) -> Any:
        found = super().__getitem__(key)
        return _Slice(found) if isinstance(key, slice) else found


class _Slice(bytes):
    def decode(self, encoding: str = "utf-8", errors: str = "backslashreplace") -> str:
        return super().decode(encoding, errors)
