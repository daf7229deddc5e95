"""Opening a batch: parse, decrypt and validate, in threads beside the event loop."""

import asyncio
import math
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import msgspec

from sparkle_app.errors import BadRecord, Reason
from sparkle_app.plugin_api import InvalidValue, Plugin
from sparkle_app.wire.envelope import Reading, Record, open_record
from sparkle_app.wire.keyring import Keyring

Opened = Reading | BadRecord
# RSA releases the interpreter; handing over single records would cost more than it gains.
_SMALLEST_CHUNK = 16


class Opener:
    """Opens batches of records.

    Arguments:
        keyring: the private keys.
        plugins: the server halves of the installed plugins, by NAME.
        threads: how many decrypt at the same time; 0 for one more than there are cores.
    """

    def __init__(self, keyring: Keyring, plugins: Mapping[str, Plugin], threads: int) -> None:
        self._keyring = keyring
        self._plugins = plugins
        # One of them usually waits until it may use the interpreter again.
        self._threads = threads or (os.cpu_count() or 1) + 1
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="open")

    async def open(self, records: Sequence[Record]) -> list[Opened]:
        """For each record, in order, its reading or why it is none."""
        size = max(_SMALLEST_CHUNK, -(-len(records) // self._threads))
        chunks = [records[start : start + size] for start in range(0, len(records), size)]
        loop = asyncio.get_running_loop()
        opened = await asyncio.gather(
            *(loop.run_in_executor(self._pool, self._open_chunk, chunk) for chunk in chunks)
        )
        return [each for chunk in opened for each in chunk]

    def _open_chunk(self, records: Sequence[Record]) -> list[Opened]:
        return [self._open(record) for record in records]

    def _open(self, record: Record) -> Opened:
        try:
            return self._validated(open_record(record, self._keyring))
        except BadRecord as bad:
            return bad

    def _validated(self, reading: Reading) -> Reading:
        plugin = self._plugins.get(reading.plugin)
        if plugin is None:
            raise BadRecord(Reason.UNKNOWN_PLUGIN, "no installed plugin has the NAME that the payload gives")
        try:
            valid = msgspec.structs.replace(reading, value=plugin.validate(reading.key, reading.value))
            # Whatever it raises is known here, where it concerns this reading only.
            measured = plugin.measure(valid)
            if measured is not None and not math.isfinite(measured):
                raise InvalidValue("expected a finite number to aggregate")
            return valid
        except InvalidValue as error:
            raise BadRecord(Reason.INVALID_VALUE, str(error)) from error
        except Exception as error:
            # A plugin's mistake concerns its own readings only. Its text may quote the value, so it stays here.
            raise BadRecord(
                Reason.INVALID_VALUE, f"{reading.plugin}'s validate or measure raised {type(error).__name__}"
            ) from error
