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
from sparkle_app.kafka.admin import examine_topics
from sparkle_app.kafka.connection import why_not
from sparkle_app.model.errors import StartupFault, TransientFault
from sparkle_app.plugin.discovery import no_plugins
from sparkle_app.sealed.internal_key import INTERNAL_KEY_FILE, internal_key
from sparkle_app.storage.engine import can_be_made, make_engine, reading, transient
from sparkle_app.web.port import check_port
from sparkle_app.worker.startup import check_data

_SECONDS = 10


class Finding(msgspec.Struct, omit_defaults=True):
    """One line of the report; the parts of a fault as well, for a script."""

    what: str
    ok: bool
    text: str
    where: str | None = None
    expected: str | None = None
    found: str | None = None
    hint: str | None = None

    @classmethod
    def of(cls, what: str, fault: StartupFault) -> "Finding":
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
        findings = [
            *self._settings(),
            *self._plugins(),
            *self._keys(),
            _finding("data", self._data),
            self._web(),
            await self._database(),
            await self._broker(),
        ]
        if as_json or self.json:
            self.say(msgspec.json.encode(findings).decode())
        else:
            for finding in findings:
                self.say(f"{'ok   ' if finding.ok else 'FAULT'} {finding.what}: {finding.text}")
        return 0 if all(finding.ok for finding in findings) else 1

    def _settings(self) -> Iterator[Finding]:
        def settings() -> str:
            self.handler.settings.web.require_token(self.handler.conf.web_bind, "--web-bind")
            return " ".join(f"{key}={value}" for key, value in masked(self.handler.settings))

        yield _finding("settings", settings)

    def _plugins(self) -> Iterator[Finding]:
        plugins = self.handler.plugins
        for name, plugin in plugins.installed.items():
            manifest = plugin.manifest
            yield Finding(
                "plugin", True, f"{name} {manifest.version}, topic {manifest.topic}, {manifest.folder}"
            )
        for warning in plugins.warnings:
            yield Finding("plugin", True, f"warning: {warning}")
        for fault in plugins.faults:
            yield Finding.of("plugin", fault)
        if not plugins.installed and not plugins.faults:
            yield Finding.of("plugin", no_plugins(self.handler.settings.plugins))

    def _keys(self) -> Iterator[Finding]:
        yield _finding(
            "keys",
            lambda: (
                f"{len(Keyring(self.handler.settings.certs))} private keys in {self.handler.settings.certs}"
            ),
        )
        path = self.handler.settings.certs / INTERNAL_KEY_FILE
        if path.exists():
            yield _finding("internal key", lambda: f"{path}, {len(internal_key(path.parent))} bytes")
        else:
            yield Finding("internal key", True, f"the first worker will make {path}")

    def _data(self) -> str:
        check_data(self.handler.settings.data)
        return str(self.handler.settings.data)

    def _web(self) -> Finding:
        address = str(self.handler.conf.canonical_url)
        try:
            check_port(self.handler.conf.web_bind, self.handler.conf.web_port)
        except StartupFault as fault:
            # A worker that runs already is no fault.
            if isinstance(fault.__cause__, OSError) and fault.__cause__.errno == errno.EADDRINUSE:
                told = f"{address} is in use: if not by a worker of yours, set web.port"
                return Finding("web", True, told)
            return Finding.of("web", fault)
        return Finding("web", True, address)

    async def _database(self) -> Finding:
        handler = self.handler

        def connect() -> str:
            url = database_url(handler.settings)
            if can_be_made(url):
                return f"{url} is not there yet; the first worker will make it"
            try:
                with reading(make_engine(url)) as connection:
                    connection.execute(text("SELECT 1"))
            except (SQLAlchemyError, OSError) as error:
                raise StartupFault(
                    "database.url",
                    expected=url.render_as_string(hide_password=True),
                    found=str(transient(error)),
                    hint="start it, or correct the setting",
                ) from error
            return url.render_as_string(hide_password=True)

        return await asyncio.to_thread(_finding, "database", connect)

    async def _broker(self) -> Finding:
        settings = self.handler.settings
        try:
            try:
                resolution = settings.aggregates.bucket_seconds
                specs = self.handler.plugins.topic_specs(settings.app_id, resolution)
                looking = examine_topics(settings.broker, specs)
                number, missing = await asyncio.wait_for(looking, _SECONDS)
            except TimeoutError as error:
                found = await why_not(settings.broker, error) or f"no answer within {_SECONDS} s"
                raise TransientFault(found) from error
        except TransientFault as fault:
            unreachable = StartupFault(
                "broker.url",
                expected=f"a broker at {settings.broker.url}",
                found=str(fault),
                hint="start it, or correct the setting",
            )
            return Finding.of("broker", unreachable)
        except StartupFault as fault:
            return Finding.of("broker", fault)
        told = f"; the first worker will create {', '.join(missing)}" if missing else ""
        return Finding("broker", True, f"{settings.broker.url}, {number} topics{told}")


def _finding(what: str, examine: Callable[[], str]) -> Finding:
    try:
        return Finding(what, True, examine())
    except StartupFault as fault:
        return Finding.of(what, fault)
