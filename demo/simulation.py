"""Simulated hosts: what they send now, and what they sent before the demo was started."""

import math
import random
from collections.abc import Iterator
from types import ModuleType
from typing import Any

HISTORY_SECONDS = 30 * 60
HISTORY_STEP_SECONDS = 60
HISTORY_HOSTS = 20
"""At most: each reading of the history has to be decrypted before the current ones."""
SILENT_HOST = "lab-001"
"""Has a history only."""
SILENT_SECONDS = 20 * 60
"""How long before the start it sent its last reading."""
LOST_HOST = "lab-002"
"""Has a config whose private key the worker does not have."""
LOST_CONFIG = 99
LOST_SECONDS = 60
"""Its collection interval."""

Reading = tuple[str, ModuleType, str, Any]
"""Hostname, plugin, key and value."""


def simulated_readings(
    plugins: list[ModuleType], hosts: int, rng: random.Random, at: float
) -> Iterator[Reading]:
    """Plausible readings of simulated hosts with four cores each: slow waves and a little noise.

    Arguments:
        at: time of the readings, seconds since the epoch.
    """
    for number in range(1, hosts + 1):
        yield from _of_host(f"host-{number:03}", number, plugins, rng, at)


def history(
    plugins: list[ModuleType], hosts: int, rng: random.Random, now: float
) -> Iterator[tuple[float, Reading]]:
    """Readings before ``now``, with their times."""
    for age in range(HISTORY_SECONDS, 0, -HISTORY_STEP_SECONDS):
        at = now - age
        for reading in simulated_readings(plugins, min(hosts, HISTORY_HOSTS), rng, at):
            yield at, reading
        if age >= SILENT_SECONDS:
            for reading in _of_host(SILENT_HOST, 0, plugins, rng, at):
                yield at, reading


def lost_reading(plugins: list[ModuleType]) -> Reading:
    """A reading that the worker cannot decrypt."""
    return LOST_HOST, plugins[0], "unknown", 0


def _of_host(
    hostname: str, number: int, plugins: list[ModuleType], rng: random.Random, at: float
) -> Iterator[Reading]:
    mean = 45 + 40 * math.sin(at / 180 + number)
    loads = [min(100.0, max(0.0, mean + rng.gauss(0, 4))) for _ in range(4)]
    values = {
        "PU_Workload": {
            "CPU/total": round(sum(loads) / len(loads), 1),
            **{f"CPU/core {core}": round(load, 1) for core, load in enumerate(loads)},
        },
        "Temperature": {
            f"coretemp/Core {core}": round(35 + load * 0.4 + rng.gauss(0, 1), 1)
            for core, load in enumerate(loads)
        },
    }
    for plugin in plugins:
        for key, value in values.get(plugin.NAME, {}).items():
            yield hostname, plugin, key, value
