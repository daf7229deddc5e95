"""``faust -A sparkle_app check``: is everything there that a worker needs?"""

import asyncio
import errno
from collections.abc import Callable, Iterator

import msgspec
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from sparkle_app.cli.base import JSON, SparkleCommand
from sparkle_app.config.settings import database_url, masked
from sparkle_app.envelope.keyring import Keyring
from sparkle_app.kafka.admin import check_topics
from sparkle_app.kafka.connection import explain_failure
from sparkle_app.model.errors import ConfigurationError, TransientError
from sparkle_app.plugin.discovery import no_plugins
from sparkle_app.sealed.internal_key import INTERNAL_KEY_FILE, internal_key
from sparkle_app.storage.engine import can_be_created, make_engine, read_transaction
from sparkle_app.storage.errors import transient_error
from sparkle_app.web.port import check_port
from sparkle_app.worker.startup import check_data_folder

_SECONDS = 10


class CheckResult(msgspec.Struct, omit_defaults=True):
    """One line of the report; the parts of a fault as well, for a script."""

    what: str
    ok: bool
    text: str
    where: str | None = None
    expected: str | None = None
    found: str | None = None
    hint: str | None = None

    @classmethod
    def of(cls, what: str, fault: ConfigurationError) -> "CheckResult":
        """What a fault says."""
        return cls(what, False, str(fault), fault.where, fault.expected, fault.found, fault.hint)


class check(SparkleCommand):
    """Check settings, plugins, keys, web address, database and broker; exit code 1 when one of them is at fault.

    It changes nothing.

    Example: faust -A sparkle_app check
    """

    options = [JSON]  # noqa: RUF012 - as Faust declares it

    async def run(self, as_json: bool) -> int:
        """Print a line for each part."""
        results = [
            *self._settings(),
            *self._plugins(),
            *self._keys(),
            _checked("data", self._data),
            self._web(),
            await self._database(),
            await self._broker(),
        ]
        if as_json or self.json:
            self.say(msgspec.json.encode(results).decode())
        else:
            for result in results:
                self.say(f"{'ok   ' if result.ok else 'FAULT'} {result.what}: {result.text}")
        return 0 if all(result.ok for result in results) else 1

    def _settings(self) -> Iterator[CheckResult]:
        def settings() -> str:
            self.handler.settings.web.require_token(self.handler.conf.web_bind, "--web-bind")
            return " ".join(f"{key}={value}" for key, value in masked(self.handler.settings))

        yield _checked("settings", settings)

    def _plugins(self) -> Iterator[CheckResult]:
        plugins = self.handler.plugins
        for name, plugin in plugins.installed.items():
            manifest = plugin.manifest
            yield CheckResult(
                "plugin", True, f"{name} {manifest.version}, topic {manifest.topic}, {manifest.folder}"
            )
        for warning in plugins.warnings:
            yield CheckResult("plugin", True, f"warning: {warning}")
        for fault in plugins.faults:
            yield CheckResult.of("plugin", fault)
        if not plugins.installed and not plugins.faults:
            yield CheckResult.of("plugin", no_plugins(self.handler.settings.plugins))

    def _keys(self) -> Iterator[CheckResult]:
        yield _checked(
            "keys",
            lambda: (
                f"{len(Keyring(self.handler.settings.certs))} private keys in {self.handler.settings.certs}"
            ),
        )
        path = self.handler.settings.certs / INTERNAL_KEY_FILE
        if path.exists():
            yield _checked("internal key", lambda: f"{path}, {len(internal_key(path.parent))} bytes")
        else:
            yield CheckResult("internal key", True, f"the first worker will make {path}")

    def _data(self) -> str:
        check_data_folder(self.handler.settings.data)
        return str(self.handler.settings.data)

    def _web(self) -> CheckResult:
        address = str(self.handler.conf.canonical_url)
        try:
            check_port(self.handler.conf.web_bind, self.handler.conf.web_port)
        except ConfigurationError as fault:
            # A worker that runs already is no fault.
            if isinstance(fault.__cause__, OSError) and fault.__cause__.errno == errno.EADDRINUSE:
                told = f"{address} is in use: if not by a worker of yours, set web.port"
                return CheckResult("web", True, told)
            return CheckResult.of("web", fault)
        return CheckResult("web", True, address)

    async def _database(self) -> CheckResult:
        handler = self.handler

        def connect() -> str:
            url = database_url(handler.settings)
            if can_be_created(url):
                return f"{url} is not there yet; the first worker will make it"
            try:
                with read_transaction(make_engine(url)) as connection:
                    connection.execute(text("SELECT 1"))
            except (SQLAlchemyError, OSError) as error:
                raise ConfigurationError(
                    "database.url",
                    expected=url.render_as_string(hide_password=True),
                    found=str(transient_error(error)),
                    hint="start it, or correct the setting",
                ) from error
            return url.render_as_string(hide_password=True)

        return await asyncio.to_thread(_checked, "database", connect)

    async def _broker(self) -> CheckResult:
        settings = self.handler.settings
        try:
            try:
                bucket_size = settings.aggregates.bucket_seconds
                specs = self.handler.plugins.topic_specs(settings.app_id, bucket_size)
                looking = check_topics(settings.broker, specs)
                number, missing = await asyncio.wait_for(looking, _SECONDS)
            except TimeoutError as error:
                found = await explain_failure(settings.broker, error) or f"no answer within {_SECONDS} s"
                raise TransientError(found) from error
        except TransientError as fault:
            unreachable = ConfigurationError(
                "broker.url",
                expected=f"a broker at {settings.broker.url}",
                found=str(fault),
                hint="start it, or correct the setting",
            )
            return CheckResult.of("broker", unreachable)
        except ConfigurationError as fault:
            return CheckResult.of("broker", fault)
        told = f"; the first worker will create {', '.join(missing)}" if missing else ""
        return CheckResult("broker", True, f"{settings.broker.url}, {number} topics{told}")


def _checked(what: str, examine: Callable[[], str]) -> CheckResult:
    try:
        return CheckResult(what, True, examine())
    except ConfigurationError as fault:
        return CheckResult.of(what, fault)
