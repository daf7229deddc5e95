"""``faust -A sparkle_app replay``: dead letters back through, once their cause is mended."""

import asyncio
from typing import Any

import msgspec
from aiokafka import AIOKafkaProducer
from faust.cli.base import option

from sparkle_app.cli.base import JSON, SparkleCommand
from sparkle_app.cli.dead_letter_filters import FILTERS, Filter, matching
from sparkle_app.dead_letters.message import REPLAY_HEADER, DeadLetter, make_replay_token
from sparkle_app.dead_letters.reader import open_dead_letters
from sparkle_app.kafka.connection import security_arguments
from sparkle_app.kafka.topology import MAX_MESSAGE_BYTES
from sparkle_app.model.time import to_millis
from sparkle_app.sealed.cipher import Cipher
from sparkle_app.sealed.internal_key import internal_key

_AT_A_TIME = 500


class replay(SparkleCommand):
    """Send dead letters back through the workers; those that become rows are withdrawn.

    It can be interrupted and repeated: nothing is stored or counted twice, and what is still bad stays one letter.

    Example: faust -A sparkle_app replay --reason unknown_config --config 7
    """

    options = [  # noqa: RUF012 - as Faust declares it
        *FILTERS,
        option("--all", "everything", is_flag=True, help="all letters"),
        option("--dry-run", is_flag=True, help="only say how many there are"),
        JSON,
    ]

    async def run(self, everything: bool, dry_run: bool, as_json: bool, **filters: Any) -> int:
        """Send those that are matching."""
        wanted = Filter(**filters)
        if everything == (wanted != Filter()):
            self.fault("replay: expected either --all or which letters (see --help)")
            return 2
        async with self.broker(), open_dead_letters(self.handler.settings) as letters:
            number = 0
            cut = 0
            async for _, letter in matching(letters, wanted):
                number += letter.whole
                cut += not letter.whole
            if cut and not as_json:
                self.fault(f"{cut} letters are without their records, which were too large: left out")
            if dry_run:
                self._report(
                    as_json, f"{number} dead letters would be sent back", letters=number, cut=cut, sent=0
                )
                return 0
            cipher = Cipher(internal_key(self.handler.settings.certs))
            producer = AIOKafkaProducer(
                bootstrap_servers=self.handler.settings.broker.url,
                **security_arguments(self.handler.settings.broker),
                # Not idempotent, which a small broker may not know: what is sent twice is recognised.
                acks="all",
                max_request_size=MAX_MESSAGE_BYTES,
            )
            try:
                await producer.start()
                sent = 0
                with self.progress(number, "letters") as progress:
                    batch: list[DeadLetter] = []
                    async for _, letter in matching(letters, wanted):
                        if not letter.whole:
                            continue
                        batch.append(letter)
                        if len(batch) == _AT_A_TIME:
                            sent += await self._send(producer, cipher, batch)
                            progress.update(len(batch))
                            batch = []
                    sent += await self._send(producer, cipher, batch)
                    progress.update(len(batch))
            finally:
                await producer.stop()
        shown = "`faust -A sparkle_app dead-letters` shows in a moment which of them stay"
        self._report(as_json, f"{sent} dead letters sent back; {shown}", letters=number, cut=cut, sent=sent)
        return 0

    def _report(self, as_json: bool, told: str, *, letters: int, cut: int, sent: int) -> None:
        fields = {"letters": letters, "without_record": cut, "sent": sent}
        self.say(msgspec.json.encode(fields).decode() if as_json else told)

    async def _send(self, producer: AIOKafkaProducer, cipher: Cipher, letters: list[DeadLetter]) -> int:
        futures = [
            await producer.send(
                letter.record.topic,
                letter.record.value,
                timestamp_ms=to_millis(letter.record.received_at),
                headers=[(REPLAY_HEADER, make_replay_token(letter.record, cipher))],
            )
            for letter in letters
        ]
        await asyncio.gather(*futures)
        return len(futures)
