"""What unit tests share."""

import sys
from collections.abc import Iterator
from types import ModuleType

import pytest


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
