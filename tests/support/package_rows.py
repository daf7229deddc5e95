"""Stores readings through the packages of a plugins folder: ``python -m tests.support.package_rows URL FOLDER``.

In a process of its own, since the tables of packages stay declared. Standard input has a JSON list of readings: plugin,
hostname, metric, value, seconds since 1970.
"""

import json
import subprocess
import sys
from collections import defaultdict
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from sqlalchemy.engine import make_url

from sparkle_app.model.host_activity import HostActivity
from sparkle_app.model.time import LATEST
from sparkle_app.plugin.discovery import load_plugins
from sparkle_app.plugin_api import Reading
from sparkle_app.storage.engine import make_engine
from sparkle_app.storage.hosts import record_activity
from sparkle_app.storage.migrations.migration import create_tables
from tests.support.worker import PROJECT, Workspace

PackageReading = tuple[str, str, str, object, int]


def store_through_packages(url: str, workspace: Workspace, readings: list[PackageReading]) -> None:
    """Create all tables, and store the readings and when their hosts sent them, as a worker does."""
    command = [sys.executable, "-m", "tests.support.package_rows", url, str(workspace.plugins)]
    done = subprocess.run(
        command,
        input=json.dumps(readings),
        env=workspace.environment("127.0.0.1:1", url),
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


def _main(url: str, folder: str) -> None:
    plugins = load_plugins(Path(folder))
    assert not plugins.errors, plugins.errors[0]
    engine = make_engine(make_url(url))
    create_tables(engine, plugins.branches)
    by_plugin: dict[str, list[Reading]] = defaultdict(list)
    activities: dict[tuple[str, str], HostActivity] = {}
    for offset, (plugin, hostname, metric, value, seconds) in enumerate(json.load(sys.stdin)):
        at = seconds * 1_000_000 + offset
        by_plugin[plugin].append(
            Reading(
                id=sha256(f"{plugin} {hostname} {metric} {value} {at}".encode()).digest()[:16],
                config_id=1,
                hostname=hostname,
                plugin=plugin,
                key=metric,
                value=value,
                observed_at=at,
                received_at=at,
                clock_trusted=True,
                topic="t",
                partition=0,
                offset=offset,
                local_time=datetime.fromtimestamp(at / 1e6, UTC).replace(tzinfo=None),
            )
        )
        activity = HostActivity(hostname, plugin, 1, at, at, at, at)
        activities.setdefault((hostname, plugin), activity).add(1, at, at)
    for name, readings in by_plugin.items():
        with engine.begin() as connection:
            plugins.installed[name].plugin.store_readings(connection, readings)
    record_activity(engine, list(activities.values()), LATEST)
    engine.dispose()


if __name__ == "__main__":
    _main(*sys.argv[1:])
