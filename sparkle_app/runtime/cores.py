"""How many processor cores this process may use."""

import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path


def usable_cores(root: Path = Path("/")) -> int:
    """The cores of this process's affinity mask, or fewer if a control group (of a container) has a CPU quota.

    A quota of one and a half cores counts as two, and every quota as at least one.

    Arguments:
        root: the root of the file system.
    """
    if sys.platform != "linux":
        return os.cpu_count() or 1
    quotas = [math.ceil(quota) for quota in _quotas(root)]
    return max(1, min([len(os.sched_getaffinity(0)), *quotas]))


def _quotas(root: Path) -> Iterator[float]:
    """The quotas, in cores, of this process's control group and of those that contain it."""
    for mount, group in _hierarchies(root):
        for folder in (group, *group.parents):
            if quota := _quota_v2(folder) or _quota_v1(folder):
                yield quota
            if folder == mount:
                break


def _quota_v2(folder: Path) -> float | None:
    quota, _, period = _read(folder / "cpu.max").partition(" ")
    return float(quota) / float(period) if quota and quota != "max" else None


def _quota_v1(folder: Path) -> float | None:
    quota, period = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
    # -1: no quota.
    return float(quota) / float(period) if quota and period and float(quota) > 0 else None


def _hierarchies(root: Path) -> Iterator[tuple[Path, Path]]:
    """Where each hierarchy with the cpu controller is mounted, and the folder there of this process's group."""
    paths: dict[str, str] = {}
    for line in _read(root / "proc/self/cgroup").splitlines():
        # HIERARCHY:CONTROLLERS:PATH; version 2 names no controllers.
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            paths[controller] = path
    for line in _read(root / "proc/self/mountinfo").splitlines():
        # ID PARENT DEVICE ROOT MOUNT OPTIONS [FIELD ...] - TYPE SOURCE OPTIONS
        fields, _, kind = line.partition(" - ")
        mounted, place = fields.split()[3:5]
        if kind.startswith("cgroup2 "):
            controller = ""
        elif kind.startswith("cgroup ") and "cpu" in kind.split()[-1].split(","):
            controller = "cpu"
        else:
            continue
        if controller not in paths:
            continue
        path = paths[controller]
        # A container may see its own group only, mounted at the place of the root.
        inside = Path(path).relative_to(mounted) if Path(path).is_relative_to(mounted) else Path()
        mount = root / place.lstrip("/")
        yield mount, mount / inside


def _read(file: Path) -> str:
    """The content of a file; empty if it cannot be read."""
    try:
        # Names of mounts need not be UTF-8.
        return file.read_text("utf-8", "surrogateescape").strip()
    except OSError:
        return ""
