"""A worker with the history of a host, for tests of its page. Two plugins have values other than numbers."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.broker import Broker
from tests.support.eventually import eventually
from tests.support.fleet import Fleet
from tests.support.worker import Workspace

HOST = "web-1"
SENSORS = ("coretemp/Core 0", "coretemp/Core 1", "nvme/Composite")
CORES = 4
MINUTES = 60
GAP = range(20, 35)
"""How many minutes ago the host sent nothing."""

_MANIFEST = """
NAME, VERSION, AUTHOR, TOPIC, DESCRIPTION = {name!r}, "1.0.0", "tests", {topic!r}, "For tests"
PANEL = {{"title": {{"en": {title!r}, "ru": "Плагин"}}, "quantity": "state"}}
"""
_PACKAGE = "from .manifest import AUTHOR, NAME, TOPIC, VERSION\nfrom .server import DataFrame, plugin\n"
_SERVER = """
from sparkle_app.plugin_api import AggregatesTable, {kind}Plugin, {kind}ReadingsTable

class DataFrame({kind}ReadingsTable):
    __tablename__ = "{table}_readings"

class Aggregates(AggregatesTable):
    __tablename__ = "{table}_aggregates"

class Own({kind}Plugin):
    DataFrame = DataFrame
    Aggregates = Aggregates

plugin = Own()
"""


def add_plugin(workspace: Workspace, name: str, kind: str, title: str) -> None:
    """Add a plugin whose values are not numbers.

    Arguments:
        kind: ``String`` or ``Json``.
    """
    folder = workspace.plugins / name.lower()
    folder.mkdir()
    (folder / "__init__.py").write_text(_PACKAGE)
    (folder / "manifest.py").write_text(_MANIFEST.format(name=name, topic=workspace.topic, title=title))
    (folder / "server.py").write_text(_SERVER.format(kind=kind, table=name.lower()))


def history(now: float) -> Iterator[tuple[float, str, str, dict[str, object]]]:
    """A reading of each metric for each of the last minutes, except for a gap."""
    for minute in range(MINUTES, -1, -1):
        if minute in GAP:
            continue
        at = now - 60 * minute
        for number, sensor in enumerate(SENSORS):
            value = 55 + 6 * number + 9 * math.sin(minute / 7 + number)
            yield at, "Temperature", sensor, {HOST: round(value, 1)}
        load = 45 + 35 * math.sin(minute / 9)
        yield at, "PU_Workload", "CPU/total", {HOST: round(load, 1)}
        for core in range(CORES):
            value = min(100.0, max(0.0, load + 12 * math.sin(minute * 1.7 + core)))
            yield at, "PU_Workload", f"CPU/{core}", {HOST: round(value, 1)}
        if minute % 5 == 0:
            word = ("active", "degraded", "active", "failed")[minute // 15 % 4]
            yield at, "Services", "sshd", {HOST: word}
            yield at, "Services", "nginx", {HOST: "active"}
            yield at, "Disks", "sda", {HOST: {"smart": "ok", "hours": 100 + minute}}


@contextmanager
def host_with_history(broker: Broker, folder: Path) -> Iterator[Fleet]:
    """One host with readings of four plugins in each minute, and a gap."""
    fleet = Fleet(broker, folder)
    add_plugin(fleet.workspace, "Services", "String", "Services")
    add_plugin(fleet.workspace, "Disks", "Json", "Disks")
    with fleet:
        fleet.send_all(history(time.time()))
        fleet.wait_for(1)
        sent = (MINUTES + 1 - len(GAP)) * (1 + CORES)
        eventually(lambda: stored_loads(fleet), lambda found: found == sent, seconds=120)
        yield fleet


def stored_loads(fleet: Fleet) -> int:
    """The number of readings in the aggregates of PU_Workload."""
    start = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 60 * MINUTES - 600))
    _, found = fleet.worker.get(f"/api/v1/plugins/PU_Workload/hosts/{HOST}/columns?from={start}&points=1000")
    return sum(sum(each["count"]) for each in found["series"].values())
