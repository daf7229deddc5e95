"""A disk that is nearly full is reported before it is full."""

import asyncio
import os
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from sparkle_app.config.loading import load_settings
from sparkle_app.runtime.disks import DiskUsage, disk_usage, one_per_disk
from sparkle_app.runtime.logging import log_files
from sparkle_app.runtime.metrics import Metrics
from sparkle_app.worker import disk_watchdog
from sparkle_app.worker.disk_watchdog import DiskWatchdog, database_folder, watch_disks, written_folders
from tests.support.disks import fill, small_file_system
from tests.support.fake_clock import FakeClock
from tests.support.virtual_time import VirtualClock, run

GB = 1_000_000_000


def usage(percent: float, inodes: float = 50) -> DiskUsage:
    """Of 100 GB and a million inodes, so many percent are in use."""
    return DiskUsage(
        Path("/data"),
        100 * GB,
        round((100 - percent) * GB),
        1_000_000,
        round((100 - inodes) * 10_000),
    )


def statvfs(**fields: int) -> Callable[[Path], os.statvfs_result]:
    """A file system of 1,000 blocks, of which root reserves 100, and 1,000 inodes."""
    values = {
        "f_frsize": 4096, "f_bsize": 65536, "f_blocks": 1000, "f_bfree": 600, "f_bavail": 500,
        "f_files": 1000, "f_ffree": 900, "f_favail": 900, **fields,
    }  # fmt: skip
    return lambda _: cast(os.statvfs_result, SimpleNamespace(**values))


def test_what_root_reserves_is_neither_used_nor_free(tmp_path: Path) -> None:
    found = disk_usage(tmp_path, statvfs())
    assert found == DiskUsage(tmp_path, 900 * 4096, 500 * 4096, 1000, 900)
    assert round(found.percent, 1) == 44.4
    # A user without privileges sees a full disk, although 10 % are free for root.
    full = disk_usage(tmp_path, statvfs(f_bfree=100, f_bavail=0))
    assert full
    assert full.percent == 100


@pytest.mark.parametrize(
    "fields",
    [{"f_files": 0, "f_ffree": 0, "f_favail": 0}, {"f_blocks": 0, "f_bfree": 0, "f_bavail": 0}],
)
def test_a_file_system_without_a_limit_is_not_full(tmp_path: Path, fields: dict[str, int]) -> None:
    found = disk_usage(tmp_path, statvfs(**fields))
    assert found
    assert found.percent < 50
    assert found.warning == ""


def test_a_file_system_that_does_not_answer_is_left_out(tmp_path: Path) -> None:
    def stale(_: Path) -> os.statvfs_result:
        raise OSError("Stale file handle")

    assert disk_usage(tmp_path, stale) is None


def test_a_folder_that_does_not_exist_yet_is_on_the_disk_of_the_one_above(tmp_path: Path) -> None:
    found = disk_usage(tmp_path / "not" / "yet")
    above = disk_usage(tmp_path)
    assert found
    assert above
    assert (found.path, found.size) == (tmp_path / "not" / "yet", above.size)


@pytest.mark.parametrize(
    ("found", "warning"),
    [
        (usage(89.99), ""),
        (
            usage(90),
            "/data: expected less than 90 % of the disk in use, found 90 %: 90.0 GB of 100.0 GB, 10.0 GB free;"
            " add space, or delete what is not needed: when the disk is full, nothing is stored",
        ),
        (
            usage(50, inodes=95),
            "/data: expected less than 90 % of the inodes in use, found 95 %: 950000 of 1000000; delete small files"
            " that are not needed: without inodes, no file can be created",
        ),
    ],
)
def test_the_warning_says_what_is_nearly_full(found: DiskUsage, warning: str) -> None:
    assert found.warning == warning


def test_each_disk_is_reported_hourly_and_when_it_is_over() -> None:
    clock = FakeClock()
    watchdog = DiskWatchdog(clock)
    lines: dict[int, str] = {}

    def poll(minutes: int, percent: float) -> list[int]:
        start = len(lines)
        for _ in range(minutes):
            for line in watchdog.poll([usage(percent), DiskUsage(Path("/other"), GB, GB, 0, 0)]):
                lines[round(clock.now - 1_700_000_000) // 60] = line
            clock.now += 60
        return list(lines)[start:]

    assert poll(10, 89.9) == []
    assert poll(130, 93) == [10, 70, 130]
    # Around the limit, nothing is said.
    for _ in range(5):
        assert poll(1, 89.5) == poll(1, 90.5) == []
    assert poll(10, 70) == [150]
    assert lines[150] == "/data: 70 % in use again"
    assert poll(10, 95) == [160]
    assert "found 95 %" in lines[160]


def test_usage_and_warning_are_exposed(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, metrics = VirtualClock(), Metrics()
    warnings = {"wal": "another"}
    percent = [50.0]
    monkeypatch.setattr(disk_watchdog, "DiskWatchdog", lambda: DiskWatchdog(clock.monotonic))
    monkeypatch.setattr(
        disk_watchdog, "disk_usage", lambda folder: usage(percent[0]) if folder == Path("/data") else None
    )

    async def in_this_thread(measure: Callable[..., Any], folder: Path) -> Any:
        return measure(folder)

    monkeypatch.setattr(asyncio, "to_thread", in_this_thread)
    found: list[tuple[float | None, bool]] = []

    async def main() -> None:
        watching = asyncio.create_task(watch_disks([Path("/data"), Path("/stale")], metrics, warnings))
        for percent[0] in (50.0, 93.0, 60.0):
            await asyncio.sleep(120)
            free = metrics.registry.get_sample_value("sparkle_disk_free_bytes", {"path": "/data"})
            found.append((free, "disk" in warnings))
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching

    run(main(), clock)
    assert found == [(50 * GB, False), (7 * GB, True), (40 * GB, False)]
    assert warnings == {"wal": "another"}
    lines = [(record.levelname, record.getMessage()[:40]) for record in caplog.records]
    assert lines == [
        ("WARNING", "/data: expected less than 90 % of the di"),
        ("WARNING", "/data: 60 % in use again"),
    ]
    samples = {
        sample.name
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.labels == {"path": "/data"}
    }
    assert samples == {
        "sparkle_disk_free_bytes",
        "sparkle_disk_size_bytes",
        "sparkle_disk_free_inodes",
        "sparkle_disk_inodes",
    }


def test_the_folders_of_the_database_the_data_and_the_log_are_watched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "settings.yaml").write_text("database: {url: 'sqlite:///here/x.sqlite3'}\ndata: there\n")
    settings = load_settings(tmp_path / "settings.yaml")
    assert database_folder(settings) == tmp_path / "here"
    # All of them are on one disk.
    assert written_folders(settings) == [tmp_path / "here"]
    seen: list[Path] = []

    def noted(folders: Any) -> list[Path]:
        seen.extend(folders)
        return seen

    monkeypatch.setattr(disk_watchdog, "one_per_disk", noted)
    monkeypatch.setattr(disk_watchdog, "log_files", lambda: [tmp_path / "logs" / "worker.log"])
    assert written_folders(settings) == [tmp_path / "here", tmp_path / "there", tmp_path / "logs"]
    (tmp_path / "settings.yaml").write_text("database: {url: 'postgresql://db.example/sparkle'}\n")
    settings = load_settings(tmp_path / "settings.yaml")
    assert database_folder(settings) is None
    seen.clear()
    assert written_folders(settings) == [tmp_path / "data", tmp_path / "logs"]


def test_the_log_file_is_known(tmp_path: Path) -> None:
    import logging

    logger = logging.getLogger("sparkle_app")
    handler = logging.FileHandler(tmp_path / "worker.log", delay=True)
    logger.addHandler(handler)
    assert list(log_files()) == [tmp_path / "worker.log"]
    logger.removeHandler(handler)
    assert list(log_files()) == []


def test_a_real_disk_is_measured_as_df_does(tmp_path: Path) -> None:
    with small_file_system("size=16m,nr_inodes=100") as folder:
        assert one_per_disk([folder / "a", tmp_path, folder / "b" / "c"]) == [folder / "a", tmp_path]
        empty = disk_usage(folder)
        assert empty
        assert (empty.size, empty.free, empty.inodes, empty.warning) == (16 << 20, 16 << 20, 100, "")
        fill(folder / "ballast", free=1_000_000)
        found = disk_usage(folder)
        assert found
        assert "% of the disk in use, found 94 %: 15.8 MB of 16.8 MB, 1.0 MB free;" in found.warning
        df = subprocess.run(
            ["df", "--block-size=1", "--output=used,avail,itotal,iavail", folder],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        used, *others = map(int, df.stdout.splitlines()[1].split())
        assert (found.size - found.free, found.free, found.inodes, found.free_inodes) == (used, *others)
        (folder / "ballast").unlink()
        for number in range(95):
            (folder / str(number)).touch()
        many = disk_usage(folder)
        assert many
        assert "% of the inodes in use, found 96 %: 96 of 100;" in many.warning
