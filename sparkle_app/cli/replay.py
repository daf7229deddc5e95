"""``faust -A sparkle_app replay``: produces dead letters back to their topics when the cause is repaired."""

import asyncio
from typing import Any

from aiokafka import AIOKafkaProducer
from faust.cli.base import option

from sparkle_app.cli.base import JSON, SparkleCommand, counted
from sparkle_app.cli.dead_letter_filters import ALL, FILTERS, Filter, matching, selection
from sparkle_app.dead_letters.message import REPLAY_HEADER, dead_letter_key, make_replay_token
from sparkle_app.dead_letters.reader import open_dead_letters
from sparkle_app.kafka.connection import open_producer
from sparkle_app.model.record import Record
from sparkle_app.model.time import to_millis
from sparkle_app.sealed.cipher import Cipher
from sparkle_app.sealed.internal_key import internal_key
from sparkle_app.worker.startup import known_internal_key

_BATCH_SIZE = 500


class replay(SparkleCommand):
    """Produce dead letters back to their original topics.

    Workers delete those that become stored readings. The command can be interrupted and run again: no reading is
    stored or counted twice, and a record that is still invalid remains one dead letter.

    Example: faust -A sparkle_app replay --reason unknown_config --config 7
    """

    options = [  # noqa: RUF012 - as Faust declares it
        *FILTERS,
        ALL,
        option("--dry-run", is_flag=True, help="only print how many dead letters would be replayed"),
        JSON,
    ]

    async def run(self, everything: bool, dry_run: bool, as_json: bool, **filters: Any) -> int:
        """Replay the selected dead letters."""
        selected = selection("replay", everything, Filter(**filters))
        async with self.broker_errors(), open_dead_letters(self.handler.settings) as reader:
            number = 0
            empty = 0
            async for _, _, dead_letter in matching(reader, selected):
                number += dead_letter.whole
                empty += not dead_letter.whole
            if empty and not as_json:
                self.error(
                    f"skipping {counted(empty, 'dead letter')}: record too large for the dead-letter topic"
                )
            if dry_run:
                text = f"{counted(number, 'dead letter')} would be replayed"
                self._report(as_json, text, replayable=number, empty=empty, sent=0)
                return 0
            await known_internal_key(self.handler.settings, self.handler.plugins)
            cipher = Cipher(internal_key(self.handler.settings.certs))
            replayed = 0
            origins: set[bytes] = set()
            async with open_producer(self.handler.settings.broker) as producer:
                with self.progress(number, "dead letters") as progress:
                    batch: list[Record] = []
                    async for _, _, dead_letter in matching(reader, selected):
                        if not dead_letter.whole:
                            continue
                        replayed += 1
                        progress.update(1)
                        record = dead_letter.record
                        origin = dead_letter_key(record)
                        # A record has a dead letter for each reading that was rejected, and is produced once.
                        if origin not in origins:
                            origins.add(origin)
                            batch.append(record)
                        if len(batch) == _BATCH_SIZE:
                            await self._send(producer, cipher, batch)
                            batch = []
                    await self._send(producer, cipher, batch)
        hint = "once workers have processed them, `faust -A sparkle_app dead-letters` lists those that remain"
        text = f"{counted(replayed, 'dead letter')} replayed; {hint}"
        self._report(as_json, text, replayable=number, empty=empty, sent=len(origins))
        return 0

    def _report(self, as_json: bool, text: str, *, replayable: int, empty: int, sent: int) -> None:
        if as_json:
            self.say_json({"letters": replayable, "without_record": empty, "sent": sent})
        else:
            self.say(text)

    async def _send(self, producer: AIOKafkaProducer, cipher: Cipher, records: list[Record]) -> None:
        futures = [
            await producer.send(
                record.topic,
                record.value,
                timestamp_ms=to_millis(record.received_at),
                headers=[(REPLAY_HEADER, make_replay_token(record, cipher))],
            )
            for record in records
        ]
        await asyncio.gather(*futures)
