"""``hosts rename`` and ``hosts merge``."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from faust.cli.base import option
from sqlalchemy import Connection, Engine

from sparkle_app.audit.renaming import HostRows, Renaming
from sparkle_app.cli.base import UsageError
from sparkle_app.cli.database import DatabaseCommand, database_errors
from sparkle_app.cli.options import check_confirmation, is_confirmed
from sparkle_app.config.settings import database_url
from sparkle_app.envelope.v1 import check_hostname
from sparkle_app.kafka.group_offsets import count_members, require_no_members
from sparkle_app.model.errors import ConfigurationError, InvalidRecordError
from sparkle_app.model.retention import merged_resolutions
from sparkle_app.model.time import EARLIEST, LATEST
from sparkle_app.plugin.default_tables import has_default_aggregates, has_default_readings
from sparkle_app.plugin_api import Plugin
from sparkle_app.runtime.terminal import counted, printable
from sparkle_app.storage.engine import read_transaction
from sparkle_app.storage.errors import repeated_on_lock_conflict
from sparkle_app.storage.host_queries import plugins_of_host
from sparkle_app.storage.renames import common_series
from sparkle_app.storage.rows import existing

RENAME, MERGE = "rename", "merge"
_MAX_ATTEMPTS = 5
OPTIONS: list[Any] = [
    option("--dry-run", is_flag=True, help="rename, merge: only print what would be changed"),
    option("--yes", is_flag=True, help="rename, merge: do not ask for confirmation"),
]


async def rename_host(
    command: DatabaseCommand, action: str, old: str, new: str, *, dry_run: bool, yes: bool, as_json: bool
) -> int:
    """Give what is stored of a host to another name, and print what was changed.

    Arguments:
        action: RENAME, for a new name that is unknown; MERGE, for one that is known.

    Raises:
        UsageError: if a name does not suit the action.
        ConfigurationError: if workers run, or the database or the broker does not respond.
    """
    where = f"hosts {action}"
    if not dry_run:
        check_confirmation(where, yes, as_json)
    settings = command.handler.settings
    with command.interruptible(), database_errors(database_url(settings)):
        plan = _plan(command, action, old, new)
    async with command.broker_errors():
        workers = await count_members(settings.broker, settings.app_id) if dry_run else 0
        if not dry_run:
            await require_no_members(settings.broker, settings.app_id)
    if not as_json:
        _print_plan(command, action, old, new, plan.found)
    if workers and not as_json:
        command.say(f"Stop all workers first: the consumer group has {counted(workers, 'member')}.")
    if not dry_run:
        with command.interruptible():
            question = f"{action.capitalize()} {printable(old)}? This cannot be undone."
            if not yes and not is_confirmed(question):
                command.say("Nothing was changed.")
                return 1
        async with command.broker_errors():
            # The question may have been answered late.
            await require_no_members(settings.broker, settings.app_id)
        with command.interruptible(), database_errors(database_url(settings)):
            plan.apply(settings.aggregates.bucket_seconds)
    if as_json:
        rows = {name: each._asdict() for name, each in plan.found.items()}
        command.say_json({"action": action, "old": old, "new": new, "dry_run": dry_run, "plugins": rows})
    elif not dry_run:
        command.say(
            f"{printable(old)} is {printable(new)} now; start the workers. What a collector still sends as"
            f" {printable(old)} is stored, and listed, under this name again."
        )
    return 0


class Plan(NamedTuple):
    """What is to be done."""

    engine: Engine
    renaming: Renaming
    found: Mapping[str, HostRows]
    """What is stored under the old name, by NAME of the plugin."""

    def apply(self, bucket_size: int) -> None:
        """Do it, except for aggregates that lag behind, in one transaction."""
        self.renaming.count_pending(self.engine, bucket_size)
        repeated_on_lock_conflict(lambda: self._rename(bucket_size), _MAX_ATTEMPTS)

    def _rename(self, bucket_size: int) -> None:
        with self.engine.begin() as connection:
            self.renaming.apply(connection, bucket_size)


def _plan(command: DatabaseCommand, action: str, old: str, new: str) -> Plan:
    where = f"hosts {action}"
    try:
        check_hostname(new)
    except InvalidRecordError as error:
        raise UsageError(
            where, expected="a new name as records carry it", found=repr(new[:100]), hint=error.detail
        ) from error
    engine = command.current_engine()
    if old == new:
        raise UsageError(
            where, expected="two names", found=f"{printable(old)} twice", hint="name the new one"
        )
    with read_transaction(engine) as connection:
        plugins = _with_tables(connection, command.handler.plugins.by_name)
        renaming = Renaming(plugins, old, new)
        found = renaming.count(connection, old)
        listed = plugins_of_host(connection, old)
        known = bool(renaming.count(connection, new) or plugins_of_host(connection, new))
        missing = sorted(listed - plugins.keys()) if common_series(connection, old, new) else []
        own = [
            name
            for name, plugin in command.handler.plugins.by_name.items()
            if _has_own_rows(connection, plugin, old, command.handler.settings.aggregates.bucket_seconds)
        ]
    if own:
        raise ConfigurationError(
            where,
            expected=f"readings and aggregates of {printable(old)} in tables of the handler only",
            found=f"plugin {own[0]}, which stores them in its own way",
            hint="its aggregates would no longer match",
        )
    if not found and not listed:
        raise UsageError(
            where,
            expected="a host with stored readings, or one that is listed",
            found=printable(old),
            hint="run hosts without options",
        )
    if action == RENAME and known:
        raise UsageError(
            where,
            expected="a new name that is unknown",
            found=f"readings or aggregates of {printable(new)}",
            hint=f"hosts {MERGE} adds the readings of one host to those of the other",
        )
    if action == MERGE and not known:
        raise UsageError(
            where,
            expected="a name that is known",
            found=printable(new),
            hint=f"correct it, or use hosts {RENAME}",
        )
    if missing:
        raise ConfigurationError(
            where,
            expected=f"all plugins of which {printable(old)} has readings",
            found=f"no plugin {', '.join(missing)}",
            hint="install it, since its rows have to be changed as well",
        )
    return Plan(engine, renaming, found)


def _has_own_rows(connection: Connection, plugin: Plugin, hostname: str, bucket_size: int) -> bool:
    """Whether readings or aggregates of a host are where only the plugin finds them."""
    found: list[Iterable[object]] = []
    if not has_default_readings(plugin) or not hasattr(plugin, "DataFrame"):
        found.append(plugin.load_readings(connection, [hostname], EARLIEST, LATEST, 1))
    if not has_default_aggregates(plugin):
        for resolution in (bucket_size, *merged_resolutions(bucket_size)):
            found.append(plugin.count_aggregates(connection, resolution, EARLIEST, LATEST, hostname))
    return any(map(any, found))


def _with_tables(connection: Connection, plugins: Mapping[str, Plugin]) -> dict[str, Plugin]:
    """The plugins whose tables of readings and aggregates exist."""
    found = {}
    for name, plugin in plugins.items():
        models = [getattr(plugin, each, None) for each in ("DataFrame", "Aggregates")]
        tables = [model.__table__ for model in models if model is not None]
        if len(existing(connection, tables)) == len(models):
            found[name] = plugin
    return found


def _print_plan(
    command: DatabaseCommand, action: str, old: str, new: str, found: Mapping[str, HostRows]
) -> None:
    command.say(f"{action} {printable(old)} -> {printable(new)}")
    for name, rows in found.items():
        both = f", of which {rows.common} are merged with those of {printable(new)}" if rows.common else ""
        numbers = f"{counted(rows.readings, 'reading')}, {counted(rows.aggregates, 'aggregate')}"
        command.say(f"  {name}: {numbers}{both}")
    if not found:
        command.say("  no readings")
