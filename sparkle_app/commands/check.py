"""``faust -A sparkle_app check``: is everything there that a worker needs?"""

import asyncio
from collections.abc import Callable, Iterator

import msgspec
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from sparkle_app import topics
from sparkle_app.broker import security_arguments, why_not
from sparkle_app.commands.base import JSON, SparkleCommand
from sparkle_app.errors import StartupFault
from sparkle_app.settings import Broker, database_url, masked
from sparkle_app.startup import check_limits, check_web
from sparkle_app.storage.database import reading, transient
from sparkle_app.wire.keyring import INTERNAL_KEY_FILE

_SECONDS = 10


class Finding(msgspec.Struct):
    """One line of the report."""

    what: str
    ok: bool
    text: str


class check(SparkleCommand):
    """Check settings, plugins, keys, database and broker; exit code 1 when one of them is at fault.

    Example: faust -A sparkle_app check
    """

    options = [JSON]  # noqa: RUF012 - as Faust declares it

    async def run(self, as_json: bool) -> int:
        """Print a line for each part."""
        findings = [
            *self._settings(),
            *self._plugins(),
            *self._keys(),
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
            check_limits(self.handler.settings)
            check_web(self.handler.settings, self.handler.conf.web_bind)
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
            yield Finding("plugin", False, str(fault))
        if not plugins.installed and not plugins.faults:
            yield Finding("plugin", False, f"{self.handler.settings.plugins}: expected a plugin, found none")

    def _keys(self) -> Iterator[Finding]:
        yield _finding(
            "keys", lambda: f"{len(self.handler.keyring)} private keys in {self.handler.settings.certs}"
        )
        path = self.handler.settings.certs / INTERNAL_KEY_FILE
        if path.exists():
            yield _finding("internal key", lambda: str(path) if self.handler.sealer else "")
        else:
            yield Finding("internal key", True, f"the first worker will make {path}")

    async def _database(self) -> Finding:
        handler = self.handler

        def connect() -> str:
            try:
                with reading(handler.engine) as connection:
                    connection.execute(text("SELECT 1"))
            except (SQLAlchemyError, OSError) as error:
                raise StartupFault(
                    "database.url",
                    expected=database_url(handler.settings).render_as_string(hide_password=True),
                    found=str(transient(error)),
                    hint="start it, or correct the setting",
                ) from error
            return database_url(handler.settings).render_as_string(hide_password=True)

        return await asyncio.to_thread(_finding, "database", connect)

    async def _broker(self) -> Finding:
        settings = self.handler.settings
        try:
            existing = await asyncio.wait_for(_list_topics(settings.broker), _SECONDS)
        except (KafkaError, OSError, TimeoutError) as error:
            try:
                found = await why_not(settings.broker, error) or f"no answer within {_SECONDS} s"
            except StartupFault as fault:
                return Finding("broker", False, str(fault))
            return Finding(
                "broker", False, f"broker.url: expected a broker at {settings.broker.url}, found {found}"
            )
        own = [topics.dead_letter_topic(settings.app_id), *self.handler.plugins.topics]
        missing = [topic for topic in own if topic not in existing]
        told = f"; the first worker will create {', '.join(missing)}" if missing else ""
        return Finding("broker", True, f"{settings.broker.url}, {len(existing)} topics{told}")


async def _list_topics(broker: Broker) -> set[str]:
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.url, **security_arguments(broker))
    try:
        await admin.start()
        return set(await admin.list_topics())
    finally:
        await admin.close()


def _finding(what: str, examine: Callable[[], str]) -> Finding:
    try:
        return Finding(what, True, examine())
    except StartupFault as fault:
        return Finding(what, False, str(fault))
