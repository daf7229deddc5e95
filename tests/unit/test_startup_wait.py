"""Startup: the settings are logged; a database or broker that is not available is waited for."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from sparkle_app.config.loading import load_settings
from sparkle_app.config.settings import Settings, setting_names
from sparkle_app.model.errors import ConfigurationError, TransientError
from sparkle_app.plugin.discovery import InstalledPlugins
from sparkle_app.worker import startup
from tests.support.processes import free_port
from tests.support.virtual_time import VirtualClock, run


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> VirtualClock:
    # Not 0: the first line must be logged whatever the value of the monotonic clock is.
    clock = VirtualClock(1000.0)
    monkeypatch.setattr(startup, "time", clock)
    return clock


def wait(clock: VirtualClock, seconds: float, attempt: Callable[[], Awaitable[str]]) -> str:
    return run(startup.wait_for("the database at db:5432", "database.url", seconds, attempt), clock)


@pytest.mark.parametrize("level", ["INFO", "DEBUG"])
def test_the_settings_and_their_file_are_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, level: str
) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(
        "app_id: mine\nweb: {token: secret-of-the-web-server}\n"
        "broker: {sasl: {mechanism: PLAIN, username: me, password: secret}}\n"
        "database: {url: 'postgresql+psycopg2://me:secret@db/x'}\n"
    )
    with (
        caplog.at_level(level, "sparkle_app.worker.startup"),
        pytest.raises(ConfigurationError, match="expected a plugin"),
    ):
        startup.build(load_settings(file), InstalledPlugins(), "127.0.0.1", free_port())
    main, *each = caplog.messages
    assert main.startswith(f"settings ({file}): app_id=mine broker.url=127.0.0.1:9092 ")
    assert " database.url=postgresql+psycopg2://me:***@db/x " in main
    assert "batch_size" not in main
    assert "secret" not in caplog.text
    if level == "INFO":
        assert each == []
    else:
        assert [line.partition("=")[0] for line in each] == [
            f"setting {name}" for name in setting_names(Settings)
        ]
        assert "setting broker.sasl.username=me" in each
        assert "setting database.url=postgresql+psycopg2://me:***@db/x" in each


def test_a_data_folder_that_cannot_be_created_is_a_configuration_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(
        ConfigurationError, match=f"data: expected a writable folder, found {tmp_path}/file/data: Not"
    ):
        startup.create_data_folder(tmp_path / "file" / "data")


def test_an_available_service_is_used_without_waiting(clock: VirtualClock) -> None:
    async def attempt() -> str:
        return "available"

    assert wait(clock, 60, attempt) == "available"
    assert clock.now == 1000


def test_a_service_that_becomes_available_in_time_is_used(
    clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def attempt() -> str:
        if clock.now < 1020:
            raise TransientError("connection refused")
        return "available"

    with caplog.at_level(logging.WARNING, "sparkle_app.worker.startup"):
        assert wait(clock, 60, attempt) == "available"
    assert 1020 <= clock.now < 1021
    # One line every few seconds, not for each attempt.
    lines = [record.getMessage() for record in caplog.records]
    assert 6 <= len(lines) <= 7, lines
    assert all("the database at db:5432" in line and "connection refused" in line for line in lines)


def test_a_service_that_stays_unavailable_is_a_configuration_error(clock: VirtualClock) -> None:
    async def attempt() -> str:
        raise TransientError("connection refused")

    with pytest.raises(ConfigurationError) as caught:
        wait(clock, 60, attempt)
    error = caught.value
    assert error.where == "database.url"
    assert "the database at db:5432" in error.expected
    assert "60 s" in error.expected
    assert error.found == "connection refused"
    assert isinstance(error.__cause__, TransientError)
    assert 1060 <= clock.now <= 1061


def test_an_attempt_that_hangs_is_cancelled_at_the_deadline(clock: VirtualClock) -> None:
    async def attempt() -> str:
        await asyncio.sleep(86_400)
        return "too late"

    with pytest.raises(ConfigurationError) as caught:
        wait(clock, 60, attempt)
    assert isinstance(caught.value.__cause__, TimeoutError)
    assert clock.now == pytest.approx(1060, abs=1)


def test_an_attempt_has_a_few_seconds_even_if_the_deadline_is_earlier(clock: VirtualClock) -> None:
    async def attempt() -> str:
        await asyncio.sleep(2.5)
        return "available"

    assert wait(clock, 0.5, attempt) == "available"
    assert clock.now == pytest.approx(1002.5)


def test_an_unexpected_error_is_raised_immediately(clock: VirtualClock) -> None:
    async def attempt() -> str:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        wait(clock, 60, attempt)
    assert clock.now == 1000
