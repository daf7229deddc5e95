"""``faust -A sparkle_app try-plugin NAME``: what becomes of a plugin's values, without a broker or a database."""

import asyncio
import hashlib
import json
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
from faust.cli.base import argument

from sparkle_app.cli.base import SparkleCommand, UsageError
from sparkle_app.cli.options import JSON, TEXT
from sparkle_app.config.sections import AggregatesSettings
from sparkle_app.envelope.v1 import check_key
from sparkle_app.ingest.decryption_pool import validated
from sparkle_app.ingest.sql_writer import SqlWriter
from sparkle_app.model.errors import ConfigurationError, InvalidRecordError
from sparkle_app.model.reading import Reading, StoredReading
from sparkle_app.model.record import Outcome, Record
from sparkle_app.model.time import from_seconds
from sparkle_app.plugin.collecting_half import collect
from sparkle_app.plugin.declared_tables import check_creation
from sparkle_app.plugin.discovery import SERVER_FLAG, InstalledPlugin
from sparkle_app.plugin_api.numeric import stored_number
from sparkle_app.runtime.terminal import counted
from sparkle_app.storage.engine import read_transaction, scratch_engine
from sparkle_app.storage.models import Base, tables_of

_HOST = "this-host"
_MAX_BYTES = 214
"""Of a reading as JSON: RSA-2048 with OAEP and SHA-1 encrypts no more (RFC 8017, 7.1.1)."""


class Trial(msgspec.Struct):
    """What becomes of one value."""

    key: str
    value: Any
    bytes: int
    """Of the reading as JSON."""
    stored: Any = None
    """The value as the database returns it."""
    numeric_value: float | None = None
    """The number that is aggregated."""
    error: str | None = None
    """Why the reading is not sent, becomes a dead letter, or is not the same when it is read from SQL."""


class try_plugin(SparkleCommand):
    """Show how the values of a plugin are processed: collect, validate, store, load, aggregate.

    Values are those that its collecting half measures on this machine, or the given ones. They are stored in a
    temporary database; the broker and `database.url` are not used. The exit code is 1 if a value would be lost.

    Examples: faust -A sparkle_app try-plugin Temperature

    faust -A sparkle_app try-plugin Fan_Speed fan1=1200 fan2=broken
    """

    options = [  # noqa: RUF012 - as Faust declares it
        argument("plugin", type=TEXT, metavar="PLUGIN"),
        argument("values", nargs=-1, type=TEXT, metavar="[KEY=VALUE]..."),
        JSON,
    ]

    async def run(self, plugin: str, values: tuple[str, ...], as_json: bool) -> int:
        """Print the result for each value."""
        installed = self.installed_plugin(plugin)
        payload = dict(map(_parsed, values)) or await asyncio.to_thread(
            collect, installed.manifest.folder, SERVER_FLAG
        )
        trials = [_trial(installed, key, value) for key, value in payload.items()]
        await _store(installed, trials, self.handler.settings.aggregates)
        if as_json:
            self.say_json(trials)
        else:
            self._print(installed, trials)
        return 1 if any(trial.error for trial in trials) else 0

    def _print(self, installed: InstalledPlugin, trials: list[Trial]) -> None:
        manifest = installed.manifest
        self.say(f"plugin {installed.name} {manifest.version}, {manifest.folder}")
        unit = f" {installed.plugin.unit}".rstrip()
        for trial in trials:
            if trial.error:
                result = f"ERROR {trial.error}"
            elif trial.numeric_value is None:
                result = f"stored as {_json(trial.stored)}, not aggregated"
            else:
                result = f"stored as {_json(trial.stored)}, aggregated as {trial.numeric_value:g}{unit}"
            self.say(f"  {trial.key} = {_json(trial.value)}: {result}")
        if not trials:
            self.say("  the collecting half measures nothing on this machine; pass values: KEY=VALUE")
            return
        lost = sum(trial.error is not None for trial in trials)
        longest = max((trial.bytes for trial in trials), default=0)
        self.say(
            f"{counted(len(trials), 'value')}, {counted(lost, 'error')};"
            f" the longest reading has {longest} of {_MAX_BYTES} bytes"
        )


def _parsed(text: str) -> tuple[str, Any]:
    """Key and value of an argument; a value that is not JSON is a string."""
    key, separator, value = text.partition("=")
    if not separator:
        raise UsageError("VALUES", expected="KEY=VALUE", found=text, hint="for example fan1=1200")
    try:
        # Whatever is nested so deep is too long, and the parser would raise RecursionError.
        return key, value if value.count("[") + value.count("{") > _MAX_BYTES else json.loads(value)
    except ValueError:
        return key, value


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _trial(installed: InstalledPlugin, key: Any, value: Any) -> Trial:
    # The same form as the deployed collector's.
    size = len(json.dumps({"plugin": installed.name, "key": key, "value": value}).encode())
    trial = Trial(str(key), value, size)
    if size > _MAX_BYTES:
        trial.error = (
            f"expected at most {_MAX_BYTES} bytes of JSON, found {size}: the collector cannot send it"
        )
    return trial


async def _store(installed: InstalledPlugin, trials: list[Trial], settings: AggregatesSettings) -> None:
    """Store what is valid twice, as after a redelivery, and load it."""
    plugins = {installed.name: installed.plugin}
    now = from_seconds(datetime.now().timestamp())
    by_id: dict[bytes, Trial] = {}
    outcomes = []
    for number, trial in enumerate(trials):
        if trial.error:
            continue
        id_ = hashlib.sha256(str(number).encode()).digest()[:16]
        topic = installed.manifest.topic
        reading = Reading(
            id_,
            1,
            _HOST,
            installed.name,
            trial.key,
            trial.value,
            now,
            now,
            True,
            topic,
            0,
            number,
            datetime.now(),
        )
        by_id[id_] = trial
        try:
            check_key(trial.key)
            outcomes.append(Outcome(Record(topic, 0, number, now, b""), [validated(reading, plugins)], []))
        except InvalidRecordError as error:
            trial.error = _dead_letter(error)
    with tempfile.TemporaryDirectory(prefix="sparkle-") as folder, ThreadPoolExecutor() as executor:
        engine = scratch_engine(Path(folder))
        try:
            check_creation(installed.tables, engine.url, installed.where)
            # Only these: it may not be possible to create those of another plugin in SQLite.
            Base.metadata.create_all(engine, [*tables_of(), *installed.tables])
            writer = SqlWriter(
                engine, plugins, executor, settings.max_metrics_per_host, settings.bucket_seconds, time.time
            )
            await writer.store(outcomes)
            first, refused, _ = await writer.store(outcomes)
            for refusal in refused:
                by_id[refusal.reading.id].error = _dead_letter(refusal.error)
            with read_transaction(engine) as connection:
                loaded = list(installed.plugin.load_readings(connection, [_HOST], now, now + 1))
        finally:
            engine.dispose()
    _compare(installed, by_id, first.get(installed.name, []), loaded)


def _dead_letter(error: InvalidRecordError) -> str:
    return f"becomes a dead letter ({error.reason.value}): {error.detail}"


def _compare(
    installed: InstalledPlugin,
    by_id: dict[bytes, Trial],
    stored: list[StoredReading],
    loaded: list[StoredReading],
) -> None:
    found = {reading.id: reading for reading in loaded}
    if len(loaded) != len(found):
        raise ConfigurationError(
            f"plugin {installed.name}",
            expected="a reading that is stored twice to be one row",
            found=f"{len(loaded)} rows of {len(found)} readings",
            hint="store_readings must store each id once",
        )
    for reading in stored:
        trial = by_id[reading.id]
        if found.get(reading.id) != reading:
            trial.error = "load_readings does not return the reading as store_readings did"
            continue
        trial.stored = reading.value
        trial.numeric_value = stored_number(installed.plugin, reading)
