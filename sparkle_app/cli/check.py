"""``faust -A sparkle_app check``: checks everything that a worker needs before it starts."""

import asyncio
import errno
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial

import msgspec

from sparkle_app.cli.base import SparkleCommand
from sparkle_app.cli.check_database import check_database
from sparkle_app.cli.options import JSON
from sparkle_app.config.settings import changed, database_url, masked
from sparkle_app.envelope.keyring import Keyring
from sparkle_app.kafka.admin import check_topics
from sparkle_app.kafka.diagnosis import explain_failure
from sparkle_app.model.errors import ConfigurationError, TransientError
from sparkle_app.plugin.discovery import no_plugins
from sparkle_app.retention.retainer import warnings as retention_warnings
from sparkle_app.runtime.disks import disk_usage
from sparkle_app.runtime.terminal import counted
from sparkle_app.sealed.internal_key import INTERNAL_KEY_FILE
from sparkle_app.storage.engine import write_ahead_log
from sparkle_app.web.port import check_port
from sparkle_app.web.tls import expiry_warning, server_context
from sparkle_app.worker.disk_watchdog import database_folder, written_folders
from sparkle_app.worker.startup import check_data_folder, known_internal_key
from sparkle_app.worker.wal_watchdog import MAX_BYTES, too_large

_TIMEOUT_SECONDS = 10


class CheckResult(msgspec.Struct, omit_defaults=True):
    """One line of the report; an error also as separate fields, for the JSON output."""

    what: str
    ok: bool
    text: str
    where: str | None = None
    expected: str | None = None
    found: str | None = None
    hint: str | None = None

    @classmethod
    def of(cls, what: str, error: ConfigurationError) -> "CheckResult":
        """The result of a failed check."""
        return cls(what, False, str(error), error.where, error.expected, error.found, error.hint)


class check(SparkleCommand):
    """Check everything that a worker needs to start.

    These are settings, plugins, keys, data folder, web address, database and broker. The exit code is 1 if a check
    fails. The command changes nothing.

    Example: faust -A sparkle_app check
    """

    options = [JSON]  # noqa: RUF012 - as Faust declares it

    async def run(self, as_json: bool) -> int:
        """Print the result of each check."""
        results = [
            *self._settings(as_json),
            *self._plugins(),
            *self._keys(),
            await self._internal_key(),
            _checked("data", self._data),
            self._web(),
            await self._database(),
            *self._wal(),
            *self._disks(),
            *await self._broker(),
        ]
        if as_json:
            self.say_json(results)
        else:
            for result in results:
                self.say(f"{'ok   ' if result.ok else 'ERROR'} {result.what}: {result.text}")
        errors = sum(not result.ok for result in results)
        if not as_json:
            self.say(counted(errors, "error") if errors else "all checks passed")
        return 1 if errors else 0

    def _settings(self, every: bool) -> Iterator[CheckResult]:
        def settings() -> str:
            self.handler.settings.web.require_token(self.handler.conf.web_bind, "--web-bind")
            shown = dict((masked if every else changed)(self.handler.settings))
            values = " ".join(f"{key}={value}" for key, value in shown.items())
            if every:
                return values
            return f"{values}; the others have their defaults" if values else "all have their defaults"

        yield CheckResult("settings file", True, self.handler.settings.source)
        yield _checked("settings", settings)
        found = self.handler.settings
        for line in [*found.web.warnings, *retention_warnings(found, self.handler.plugins.by_name)]:
            yield CheckResult("settings", True, f"warning: {line}")

    def _plugins(self) -> Iterator[CheckResult]:
        plugins = self.handler.plugins
        for name, plugin in plugins.installed.items():
            manifest = plugin.manifest
            yield CheckResult(
                "plugin", True, f"{name} {manifest.version}, topic {manifest.topic}, {manifest.folder}"
            )
        for warning in plugins.warnings:
            yield CheckResult("plugin", True, f"warning: {warning}")
        for error in plugins.errors:
            yield CheckResult.of("plugin", error)
        if not plugins.installed and not plugins.errors:
            yield CheckResult.of("plugin", no_plugins(self.handler.settings.plugins))

    def _keys(self) -> Iterator[CheckResult]:
        yield _checked(
            "keys",
            lambda: (
                f"{counted(len(Keyring(self.handler.settings.certs)), 'private key')}"
                f" in {self.handler.settings.certs}"
            ),
        )

    async def _internal_key(self) -> CheckResult:
        settings = self.handler.settings
        path = settings.certs / INTERNAL_KEY_FILE
        try:
            known = known_internal_key(settings, self.handler.plugins)
            key = await asyncio.wait_for(known, _TIMEOUT_SECONDS)
        except (ConfigurationError, TransientError, TimeoutError) as error:
            if isinstance(error, ConfigurationError) and error.where == str(path):
                return CheckResult.of("internal key", error)
            # An unusable broker is the result of another check.
            key = None
        if key:
            return CheckResult("internal key", True, f"{path}, {len(key)} bytes")
        return CheckResult(
            "internal key", True, f"{path} does not exist yet; the first worker will create it"
        )

    def _data(self) -> str:
        check_data_folder(self.handler.settings.data)
        return str(self.handler.settings.data)

    def _web(self) -> CheckResult:
        address = str(self.handler.conf.canonical_url)
        tls = self.handler.settings.web.tls
        try:
            server_context(tls)
            warning = tls.certificate and expiry_warning(tls.certificate, datetime.now(UTC))
        except ConfigurationError as error:
            return CheckResult.of("web", error)
        try:
            check_port(self.handler.conf.web_bind, self.handler.conf.web_port)
        except ConfigurationError as error:
            # A worker that is already running is no error.
            if not isinstance(error.__cause__, OSError) or error.__cause__.errno != errno.EADDRINUSE:
                return CheckResult.of("web", error)
            address += " is in use; if not by a running worker, set web.port to another port"
        return CheckResult("web", True, f"{address}; warning: {warning}" if warning else address)

    async def _database(self) -> CheckResult:
        handler = self.handler
        check = partial(check_database, handler.settings, handler.plugins)
        return await asyncio.to_thread(_checked, "database", check)

    def _wal(self) -> Iterator[CheckResult]:
        wal = write_ahead_log(database_url(self.handler.settings))
        if wal and wal.size() > MAX_BYTES:
            # Those that keep a transaction are found twice; others come and go.
            readers = wal.readers()
            time.sleep(1)
            yield CheckResult(
                "database", True, f"warning: {wal.path}: {too_large(wal, readers & wal.readers())}"
            )

    def _disks(self) -> Iterator[CheckResult]:
        settings = self.handler.settings
        database = database_folder(settings)
        for folder in written_folders(settings):
            usage = disk_usage(folder)
            if usage and usage.warning:
                what = "database" if database and folder == database.absolute() else "data"
                yield CheckResult(what, True, f"warning: {usage.warning}")

    async def _broker(self) -> list[CheckResult]:
        settings = self.handler.settings
        try:
            try:
                bucket_size = settings.aggregates.bucket_seconds
                specs = self.handler.plugins.topic_specs(settings.app_id, bucket_size)
                number, missing, topics = await asyncio.wait_for(
                    check_topics(settings.broker, specs), _TIMEOUT_SECONDS
                )
            except TimeoutError as error:
                found = (
                    await explain_failure(settings.broker, error)
                    or f"no response within {_TIMEOUT_SECONDS} s"
                )
                raise TransientError(found) from error
        except TransientError as error:
            unavailable = ConfigurationError(
                "broker.url",
                expected=f"a broker at {settings.broker.url}",
                found=str(error),
                hint="start it, or correct the setting",
            )
            return [CheckResult.of("broker", unavailable)]
        except ConfigurationError as error:
            return [CheckResult.of("broker", error)]
        to_create = f"; the first worker will create {', '.join(missing)}" if missing else ""
        return [
            CheckResult("broker", True, f"{settings.broker.url}, {counted(number, 'topic')}{to_create}"),
            *(CheckResult("broker", True, f"warning: {warning}") for warning in topics.warnings),
        ]


def _checked(what: str, check: Callable[[], str]) -> CheckResult:
    try:
        return CheckResult(what, True, check())
    except ConfigurationError as error:
        return CheckResult.of(what, error)
