"""``faust -A sparkle_app reset-offsets``: lets workers read again what a restored database does not contain."""

from faust.cli.base import option

from sparkle_app.cli.database import DatabaseCommand
from sparkle_app.cli.options import JSON, Instant
from sparkle_app.kafka.group_offsets import Begin, Stored, commit_resets, plan_resets
from sparkle_app.model.time import rfc3339, span
from sparkle_app.runtime.terminal import counted
from sparkle_app.storage.engine import read_transaction
from sparkle_app.storage.positions import select_newest
from sparkle_app.storage.rows import existing

_MARGIN = span(3600)


class reset_offsets(DatabaseCommand):
    """Let workers read records again, after the database was restored from a backup.

    By default since an hour before the newest reading that the database contains, and at the latest after the last
    record of which it contains a reading, for each partition of the plugin topics; where it contains none, or Kafka
    none as new, since the first record that Kafka retains. Readings that are stored already are recognized. Stop all
    workers first. Afterwards start them, and when they have read the records, run rebuild and verify.

    Example: faust -A sparkle_app reset-offsets --dry-run
    """

    options = [  # noqa: RUF012 - as Faust declares it
        option("--since", type=Instant(), help="read again the records since this time, in all partitions"),
        option("--dry-run", is_flag=True, help="only print the offsets"),
        JSON,
    ]

    async def run(self, *, since: int | None, dry_run: bool, as_json: bool) -> int:
        """Print a line per partition."""
        stored: dict[tuple[str, int], Stored] = {}
        if since is None:
            self.in_database(lambda: self._read_stored(stored))
        settings = self.handler.settings
        async with self.broker_errors():
            resets = await plan_resets(
                settings.broker, settings.app_id, self.handler.plugins.topics, stored, since
            )
            if not dry_run:
                await commit_resets(settings.broker, settings.app_id, resets)
        if as_json:
            self.say_json(
                [
                    {
                        "topic": each.topic,
                        "partition": each.partition,
                        "committed": each.committed,
                        "offset": each.offset,
                        "records": each.records,
                    }
                    for each in resets
                ]
            )
            return 0
        for each in resets:
            in_database = stored.get((each.topic, each.partition))
            at = in_database.since if in_database else since
            before = "no offset" if each.committed is None else f"{each.committed} -> {each.offset}"
            begin = f"since {rfc3339(at)}" if at and each.begin is Begin.TIME else f"from {each.begin.value}"
            self.say(f"{each.topic}/{each.partition}: {before}, {begin}")
        records = counted(sum(each.records for each in resets), "record")
        self.say(
            f"{records} would be read again"
            if dry_run
            else f"{records} will be read again; start the workers, then run rebuild and verify"
        )
        return 0

    def _read_stored(self, stored: dict[tuple[str, int], Stored]) -> int:
        engine = self.current_engine()
        with read_transaction(engine) as connection:
            tables = existing(connection, list(self.handler.plugins.readings.values()))
        for table in tables:
            with read_transaction(engine) as connection:
                for topic, partition, newest, offset in select_newest(connection, table):
                    found = Stored(newest - _MARGIN, offset)
                    before = stored.get((topic, partition), found)
                    stored[topic, partition] = Stored(*map(max, found, before))
        return 0
