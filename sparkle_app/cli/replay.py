"""``faust -A sparkle_app replay``: produces dead letters back to their topics when the cause is repaired."""

from typing import Any

from faust.cli.base import option

from sparkle_app.cli.base import JSON, SparkleCommand, counted
from sparkle_app.cli.dead_letter_filters import ALL, FILTERS, selection
from sparkle_app.dead_letters.reader import open_dead_letters
from sparkle_app.dead_letters.replay import ReplayProgress, count_replayable, replay_selected
from sparkle_app.dead_letters.selection import Filter
from sparkle_app.kafka.connection import open_producer
from sparkle_app.sealed.cipher import Cipher
from sparkle_app.sealed.internal_key import internal_key
from sparkle_app.worker.startup import known_internal_key


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
            done = ReplayProgress()
            await count_replayable(reader, selected, done)
            if done.empty and not as_json:
                self.error(
                    f"skipping {counted(done.empty, 'dead letter')}: record too large for the dead-letter topic"
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

    def _report(self, as_json: bool, text: str, done: ReplayProgress) -> None:
        if as_json:
            self.say_json({"letters": done.replayable, "without_record": done.empty, "sent": done.sent})
        else:
            self.say(text)
