"""What unit tests share."""

import importlib
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from sparkle_app.aggregate import agent, table
from tests.support.aggregate_world import World
from tests.support.fake_sys import FakeSys
from tests.support.process_exit import raise_instead_of_exit


@pytest.fixture
def working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory; SPARKLE_SETTINGS is not set."""
    monkeypatch.delenv("SPARKLE_SETTINGS", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def collector_imports(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Packages of plugins are imported as a collector does, and forgotten: a handler's half has the same name."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delenv("SPARKLE_M_SERVER", raising=False)
    before = _plugins()
    for name in before:
        del sys.modules[name]
    yield
    for name in _plugins():
        del sys.modules[name]
    sys.modules.update(before)


def _plugins() -> dict[str, ModuleType]:
    return {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "plugins"}


@pytest.fixture
def temperature(collector_imports: None, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The collecting half of Temperature, newly imported, on a machine without GPUs."""
    monkeypatch.setitem(sys.modules, "pynvml", None)
    return importlib.import_module("plugins.temperature.main")


@pytest.fixture
def tree(temperature: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSys:
    """The folder /sys that it reads."""
    monkeypatch.setattr("plugins.temperature.hwmon.SYS", str(tmp_path / "sys"))
    return FakeSys(tmp_path / "sys")


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """A worker's aggregate half, started; retries wait by its clock, and the end of the process is an exception."""
    raise_instead_of_exit(monkeypatch, agent, table)
    world = World(tmp_path)
    world.clock.replace_sleep_of_retries(monkeypatch)
    await world.start()
    yield world
    world.engine.dispose()
