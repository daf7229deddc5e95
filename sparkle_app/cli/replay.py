"""``faust -A sparkle_app replay``: produces dead letters back to their topics when the cause is repaired."""

import asyncio
from typing import Any

from faust.cli.base import option

from sparkle_app.cli.database import DatabaseCommand, database_errors
from sparkle_app.cli.dead_letter_filters import ALL, FILTERS, selection
from sparkle_app.cli.options import JSON
from sparkle_app.config.settings import database_url
from sparkle_app.dead_letters.reader import open_dead_letters
from sparkle_app.dead_letters.replay import ReplayProgress, count_replayable, replay_selected
from sparkle_app.dead_letters.selection import Filter
from sparkle_app.kafka.connection import open_producer
from sparkle_app.model.errors import ConfigurationError
from sparkle_app.model.retention import READINGS
from sparkle_app.runtime.terminal import counted
from sparkle_app.sealed.cipher import Cipher
from sparkle_app.sealed.internal_key import internal_key
from sparkle_app.storage.engine import can_be_created, read_transaction
from sparkle_app.storage.retention import watermarks
from sparkle_app.worker.startup import known_internal_key


class replay(DatabaseCommand):
    """Produce dead letters back to their original topics.

    Workers delete those that become stored readings. The command can be interrupted and run again: no reading is
    stored or counted twice, and a record that is still invalid remains one dead letter. Readings that are older than
    the retention period are not stored: they are counted as expired, and their dead letters deleted.

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
        kept_since = await self._kept_since()
        async with self.broker_errors(), open_dead_letters(self.handler.settings) as reader:
            done = ReplayProgress()
            await count_replayable(reader, selected, done, kept_since=kept_since)
            if done.empty and not as_json:
                self.error(
                    f"skipping {counted(done.empty, 'dead letter')} without a value, as of a record that was too large"
                )
            if done.expired and not as_json:
                self.error(
                    f"{counted(done.expired, 'dead letter')} older than the retention period: workers will not store"
                    " their readings, but count them as expired"
                )
            if dry_run:
                self._report(as_json, f"{counted(done.replayable, 'dead letter')} would be replayed", done)
                return 0
            await known_internal_key(self.handler.settings, self.handler.plugins)
            cipher = Cipher(internal_key(self.handler.settings.certs))
            async with open_producer(self.handler.settings.broker) as producer:
                with self.progress(done.replayable, "dead letters") as bar:
                    await replay_selected(reader, selected, producer, cipher, done, bar.update)
        hint = "once workers have processed them, `faust -A sparkle_app dead-letters` lists those that remain"
        self._report(as_json, f"{counted(done.replayed, 'dead letter')} replayed; {hint}", done)
        return 0

    async def _kept_since(self) -> dict[str, int]:
        """The start of the retention period, by topic: of several plugins that share one, the earliest time."""
        try:
            return await asyncio.to_thread(self._read_kept_since)
        except ConfigurationError as error:
            # Workers may well reach the database, and replaying needs the broker only.
            self.error(f"cannot determine how many dead letters are older than the retention period: {error}")
            return {}

    def _read_kept_since(self) -> dict[str, int]:
        found: dict[str, int] = {}
        if can_be_created(database_url(self.handler.settings)):
            return found
        bucket_size = self.handler.settings.aggregates.bucket_seconds
        with database_errors(database_url(self.handler.settings)):
            engine = self.current_engine()
            with read_transaction(engine) as connection:
                for name, each in self.handler.plugins.installed.items():
                    mark = watermarks(connection, name, bucket_size)[READINGS]
                    topic = each.manifest.topic
                    found[topic] = min(found.get(topic, mark.kept_since), mark.kept_since)
            engine.dispose()
        return found

    def _report(self, as_json: bool, text: str, done: ReplayProgress) -> None:
        if as_json:
            numbers = {"letters": done.replayable, "without_record": done.empty, "expired": done.expired}
            self.say_json({**numbers, "sent": done.sent})
        else:
            self.say(text)
