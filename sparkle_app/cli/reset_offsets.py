"""``faust -A sparkle_app reset-offsets``: lets workers read again what a restored database does not contain."""

from faust.cli.base import option

from sparkle_app.cli.base import JSON, Instant
from sparkle_app.cli.database import DatabaseCommand
from sparkle_app.kafka.group_offsets import commit_resets, plan_resets
from sparkle_app.model.time import rfc3339, span
from sparkle_app.runtime.terminal import counted
from sparkle_app.storage.engine import read_transaction
from sparkle_app.storage.positions import select_newest
from sparkle_app.storage.rows import existing

_MARGIN = span(3600)


class reset_offsets(DatabaseCommand):
    """Let workers read records again, after the database was restored from a backup.

    By default since an hour before the newest reading that the database contains, for each partition of the plugin
    topics; where it contains none, since the first record that Kafka retains. Readings that are stored already are
    recognized. Stop all workers first. Afterwards start them, and when they have read the records, run rebuild and
    verify.

    Example: faust -A sparkle_app reset-offsets --dry-run
    """

    options = [  # noqa: RUF012 - as Faust declares it
        option("--since", type=Instant(), help="read again the records since this time, in all partitions"),
        option("--dry-run", is_flag=True, help="only print the offsets"),
        JSON,
    ]

    async def run(self, *, since: int | None, dry_run: bool, as_json: bool) -> int:
        """Print a line per partition."""
        times: dict[tuple[str, int], int] = {}
        if since is None:
            self.in_database(lambda: self._read_times(times))
        settings = self.handler.settings
        async with self.broker_errors():
            resets = await plan_resets(
                settings.broker, settings.app_id, self.handler.plugins.topics, times, since
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
            at = times.get((each.topic, each.partition), since)
            before = "no offset" if each.committed is None else f"{each.committed} -> {each.offset}"
            self.say(
                f"{each.topic}/{each.partition}: {before}, since {rfc3339(at) if at else 'the first record'}"
            )
        records = counted(sum(each.records for each in resets), "record")
        self.say(
            f"{records} would be read again"
            if dry_run
            else f"{records} will be read again; start the workers, then run rebuild and verify"
        )
        return 0

    def _read_times(self, times: dict[tuple[str, int], int]) -> int:
        engine = self.current_engine()
        with read_transaction(engine) as connection:
            tables = existing(connection, list(self.handler.plugins.readings.values()))
        for table in tables:
            with read_transaction(engine) as connection:
                for topic, partition, newest in select_newest(connection, table):
                    at = newest - _MARGIN
                    times[topic, partition] = max(at, times.get((topic, partition), at))
        return 0
