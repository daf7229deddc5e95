"""The number of cores follows the CPU quota of control groups, versions 1 and 2."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sparkle_app.runtime.cores import usable_cores
from tests.support.worker import PROJECT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="control groups are of Linux")

V1 = "33 32 0:30 {root} /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct"
V2 = "31 23 0:28 {root} /sys/fs/cgroup rw,relatime - cgroup2 cgroup2 rw,nsdelegate"
NOISE = (
    "40 31 0:37 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n22 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
)


@pytest.fixture(autouse=True)
def sixty_four_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))


def place(root: Path, cgroup: str, mount: str, mounted: str = "/") -> None:
    for name, text in (("cgroup", cgroup), ("mountinfo", NOISE + mount.format(root=mounted) + "\n")):
        path = root / "proc/self" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def limit(root: Path, group: str, **files: str) -> None:
    folder = root / "sys/fs/cgroup" / group
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("_", ".", 1)).write_text(f"{text}\n")


def test_without_control_groups_the_affinity_counts(tmp_path: Path) -> None:
    assert usable_cores(tmp_path) == 64


@pytest.mark.parametrize(
    ("quota", "cores"),
    [
        ("200000 100000", 2),
        ("150000 100000", 2),
        ("10000 100000", 1),
        ("max 100000", 64),
        ("9900000 100000", 64),
    ],
)
def test_version_2(tmp_path: Path, quota: str, cores: int) -> None:
    place(tmp_path, "0::/\n", V2)
    limit(tmp_path, "", cpu_max=quota)
    assert usable_cores(tmp_path) == cores


@pytest.mark.parametrize(("quota", "cores"), [("200000", 2), ("50000", 1), ("-1", 64)])
def test_version_1(tmp_path: Path, quota: str, cores: int) -> None:
    # A container without a namespace of control groups: the path is the host's, the mount is the container's.
    place(tmp_path, "4:cpu,cpuacct:/docker/5f\n1:cpuset:/docker/5f\n", V1, "/docker/5f")
    limit(tmp_path, "cpu,cpuacct", cpu_cfs_quota_us=quota, cpu_cfs_period_us="100000")
    assert usable_cores(tmp_path) == cores


def test_the_smallest_quota_of_the_groups_around_counts(tmp_path: Path) -> None:
    place(tmp_path, "0::/system.slice/sparkle.service\n", V2)
    limit(tmp_path, "system.slice", cpu_max="300000 100000")
    limit(tmp_path, "system.slice/sparkle.service", cpu_max="max 100000")
    assert usable_cores(tmp_path) == 3
    limit(tmp_path, "system.slice/sparkle.service", cpu_max="400000 100000")
    assert usable_cores(tmp_path) == 3


def test_the_name_of_a_mount_need_not_be_valid_utf_8(tmp_path: Path) -> None:
    place(tmp_path, "0::/\n", V2)
    limit(tmp_path, "", cpu_max="200000 100000")
    with (tmp_path / "proc/self/mountinfo").open("ab") as mounts:
        mounts.write(b"50 22 8:17 / /media/donn\xe9es rw - vfat /dev/sdb1 rw\n")
    assert usable_cores(tmp_path) == 2


def test_a_path_outside_of_the_mount_is_no_error(tmp_path: Path) -> None:
    place(tmp_path, "0::/../other\n", V2, "/elsewhere")
    limit(tmp_path, "", cpu_max="200000 100000")
    assert usable_cores(tmp_path) == 2


def test_a_real_quota(tmp_path: Path) -> None:
    """Of a control group that the test creates; half a core, since the machine may have few."""
    v1, v2 = Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup")
    base = v1 if (v1 / "cpu.cfs_quota_us").exists() or v1.is_dir() else v2
    group = base / f"sparkle-test-{os.getpid()}"
    code = "import os; os.sched_getaffinity = lambda _: set(range(64))\n"
    code += f"open('{group}/cgroup.procs', 'w').write(str(os.getpid()))\n"
    code += "from sparkle_app.runtime.cores import usable_cores; print(usable_cores())"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no control group can be created: {error}")
    try:
        try:
            if base == v1:
                (group / "cpu.cfs_quota_us").write_text("250000")
            else:
                (group / "cpu.max").write_text("250000 100000")
        except OSError as error:
            pytest.skip(f"no quota can be set: {error}")
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=PROJECT
        )
        assert done.stdout == "3\n", done.stderr
    finally:
        group.rmdir()
