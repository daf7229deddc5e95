"""Load of the processor between two readings.

psutil.cpu_percent is not used: it keeps the last times for each thread, so that the first call of a thread returns
0.0, and it numbers cores by their position, which changes while a core is offline.
"""

from __future__ import annotations

import os
import threading
import time
from typing import Any, NamedTuple

from .collecting import import_or_none

psutil = import_or_none("psutil")

PROC_STAT = "/proc/stat"
SHORTEST_INTERVAL = 0.5
"""Seconds. The kernel counts in hundredths of a second, and a collector that is late calls several times at once."""


class Times(NamedTuple):
    """Seconds, or ticks, that a core has spent since its start."""

    busy: tuple[float, ...]
    idle: tuple[float, ...]


class Processor:
    """Measures the load since the previous reading, whichever thread took it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._times: dict[int, Times] = {}
        self._read_at: float | None = None

    def load(self) -> dict[str, float]:
        """Load of the processor and of each core, in %.

        The first call returns nothing: it would measure the start of the collector. Nor does one that follows too soon.

        Raises:
            Exception: as cpu_times.
        """
        with self._lock:
            now = time.monotonic()
            if self._read_at is not None and now - self._read_at < SHORTEST_INTERVAL:
                return {}
            before, self._times = self._times, cpu_times()
            self._read_at = now
            after = self._times
        readings: dict[str, float] = {}
        busy = total = 0.0
        for core in sorted(before.keys() & after.keys()):
            core_busy = _passed(before[core].busy, after[core].busy)
            core_total = core_busy + _passed(before[core].idle, after[core].idle)
            if core_total > 0:
                readings[f"CPU/core {core}"] = round(100 * core_busy / core_total, 1)
                busy, total = busy + core_busy, total + core_total
        return {"CPU/total": round(100 * busy / total, 2), **readings} if readings else {}


def _passed(before: tuple[float, ...], after: tuple[float, ...]) -> float:
    # Some counters of Linux decrease at times: idle, iowait, and those of a core that was offline.
    return sum(max(0.0, new - old) for old, new in zip(before, after))


def cpu_times() -> dict[int, Times]:
    """Times of the cores that are online, by the number that the system gives them.

    Raises:
        OSError: when they cannot be read on Linux.
        Exception: whatever psutil raises on another system, or without psutil.
    """
    return _times_of_linux() if os.path.exists(PROC_STAT) else _times_of_psutil()


def _times_of_linux() -> dict[int, Times]:
    found: dict[int, Times] = {}
    with open(PROC_STAT, "rb") as file:
        lines = file.read().splitlines()
    for line in lines:
        name, *fields = line.split() or [b""]
        if name.startswith(b"cpu") and name[3:].isdigit() and len(fields) >= 4:
            # user, nice, system, idle, iowait, irq, softirq, steal; guest times are part of user and nice.
            ticks = [float(field) for field in fields[:8]]
            found[int(name[3:])] = Times((*ticks[:3], *ticks[5:]), tuple(ticks[3:5]))
    if not found:
        raise OSError(f"{PROC_STAT}: expected a line for each core, found none")
    return found


def _times_of_psutil() -> dict[int, Times]:
    return dict(enumerate(map(_of_psutil, psutil.cpu_times(percpu=True))))


def _of_psutil(core: Any) -> Times:
    seconds = {name: float(getattr(core, name)) for name in core._fields}
    idle = ("idle", "iowait")
    return Times(
        tuple(value for name, value in seconds.items() if name not in (*idle, "guest", "guest_nice")),
        tuple(seconds[name] for name in idle if name in seconds),
    )
