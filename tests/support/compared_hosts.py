"""A worker with hosts to compare: more than a comparison has, one that lacks a plugin, one with other metrics."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode

from playwright.sync_api import Locator, Page

from tests.support.broker import Broker
from tests.support.eventually import eventually
from tests.support.fleet import Fleet
from tests.support.host_history import add_plugin

HOSTS = tuple(f"web-{number}" for number in range(1, 10))
COOL = "web-3"
"""Sends no temperatures."""
OTHER = "web-4"
"""Has another sensor than the others, and no cores."""
CORES = 24
MINUTES = 30
GAP = range(10, 16)
"""How many minutes ago web-2 sent nothing."""
HOSTILE = "<b>%2F..\u202e&host=x</b>"
LONG = "y" * 1000
"""Names that send a temperature, too."""


def compare_path(*hosts: str, **query: str) -> str:
    """The path of the page that compares hosts."""
    return f"/compare?{urlencode([*(('host', host) for host in hosts), *query.items()])}"


def base(number: int) -> float:
    """The usual temperature of web-NUMBER."""
    return 40.0 + 4 * number


def readings(now: float) -> Iterator[tuple[float, str, str, dict[str, object]]]:
    """A reading of each metric for each of the last minutes."""
    for minute in range(MINUTES, -1, -1):
        at = now - 60 * minute
        temperatures: dict[str, dict[str, object]] = {}
        cores: dict[str, dict[str, object]] = {}
        for number, host in enumerate(HOSTS, start=1):
            if host == "web-2" and minute in GAP:
                continue
            wave = math.sin(minute / 5 + number)
            if host != COOL:
                for core in range(2):
                    sensor = "acpi/zone" if host == OTHER else f"coretemp/Core {core}"
                    temperatures.setdefault(sensor, {})[host] = round(base(number) + 3 * core + 3 * wave, 1)
            cores.setdefault("CPU/total", {})[host] = round(50 + 30 * wave)
            if host != OTHER and number <= 3:
                for core in range(CORES):
                    load = min(100.0, max(0.0, 50 + 30 * wave + 15 * math.sin(core * 1.7 + minute)))
                    cores.setdefault(f"CPU/{core}", {})[host] = round(load)
        yield from ((at, "Temperature", sensor, values) for sensor, values in temperatures.items())
        yield from ((at, "PU_Workload", core, values) for core, values in cores.items())
        if minute % 5 == 0:
            yield at, "Services", "sshd", {"web-1": "active", "web-2": "failed" if minute < 12 else "active"}
    yield now, "Temperature", "coretemp/Core 0", {HOSTILE: 50.0, LONG: 51.0, "..": 52.0}


@contextmanager
def compared_hosts(broker: Broker, folder: Path) -> Iterator[Fleet]:
    """Nine hosts with half an hour of readings, and three of strange names."""
    fleet = Fleet(broker, folder)
    add_plugin(fleet.workspace, "Services", "String", "Services")
    with fleet:
        now = time.time()
        fleet.send_all(readings(now))
        fleet.wait_for(len(HOSTS) + 3)
        start = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now - 60 * MINUTES - 600))
        path = f"/api/v1/plugins/PU_Workload/hosts/web-1/columns?from={start}&points=1000"
        eventually(
            lambda: sum(sum(each["count"]) for each in fleet.worker.get(path)[1]["series"].values()),
            lambda found: found == (MINUTES + 1) * (1 + CORES),
            seconds=120,
        )
        yield fleet


def compared(page: Page) -> Locator:
    """The names of the hosts that are compared."""
    return page.locator(".compared-hosts li .name")


def small(figure: Locator, host: str) -> Locator:
    """The small chart of a host."""
    return figure.locator(".small-charts > li", has=figure.page.get_by_role("link", name=host, exact=True))
