"""The collecting half of every package in plugins/ runs without the handler and its dependencies."""

import json
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import files
from pathlib import Path

import pytest

from tests.support.fake_sys import FakeSys, one
from tests.support.old_python import annotation_faults

PLUGINS = Path(__file__).parents[2] / "plugins"
PACKAGES = sorted(path.parent.name for path in PLUGINS.glob("[!._]*/__init__.py"))


def pythons() -> list[Path]:
    """This Python, and the others from 3.8 on that are on the PATH or that pyenv has installed."""
    found = {sys.version_info[:2]: Path(sys.executable)}
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    # None is started here: every process of pytest collects this module.
    for minor in range(8, 20):
        on_path = shutil.which(f"python3.{minor}")
        # A shim of pyenv is on the PATH whether its version is chosen or not.
        usable = [Path(on_path)] if on_path and root not in Path(on_path).parents else []
        for python in usable + sorted(root.glob(f"versions/3.{minor}.*/bin/python")):
            found.setdefault((3, minor), python)
    return [found[version] for version in sorted(found)]


PYTHONS = pythons()

pytestmark = pytest.mark.usefixtures("collector_imports")

COLLECT = """
import importlib, json, sys, time
sys.path = [path for path in sys.path if "site-packages" not in path] + sys.argv[1:3]
for module in ("faust", "sqlalchemy", "sparkle_app", "msgspec", "cryptography"):
    try:
        importlib.import_module(module)
    except ImportError:
        continue
    sys.exit(f"{module} can be imported, so this test is not valid")
package = importlib.import_module(f"plugins.{sys.argv[3]}")
payload = package.get_payload()
time.sleep(0.6)
second = package.get_payload()
print(json.dumps({
    "name": package.NAME, "version": package.VERSION, "author": package.AUTHOR, "topic": package.TOPIC,
    "payload": payload, "second": second,
}))
"""

RUN_ON_OLD_PYTHON = """
import json, sys
sys.path.insert(0, sys.argv[1])
import plugins.pu_workload.processor as processor
import plugins.temperature.hwmon as hwmon
from plugins import pu_workload, temperature
hwmon.SYS = sys.argv[2] + "/sys"
processor.PROC_STAT = sys.argv[2] + "/stat"
processor.SHORTEST_INTERVAL = 0
for ticks in ("0 0 0 0", "25 0 0 75"):
    with open(processor.PROC_STAT, "w") as file:
        file.write("cpu0 " + ticks)
    found = {package.NAME: package.get_payload() for package in (temperature, pu_workload)}
print(json.dumps(found))
"""


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """Folders of a host: the unpacked plugins, and the packages that their requirements.txt files install."""
    shutil.copytree(PLUGINS, tmp_path / "collector" / "plugins", ignore=shutil.ignore_patterns("__pycache__"))
    installed = tmp_path / "installed"
    installed.mkdir()
    return tmp_path


def requirements(package: str) -> list[str]:
    file = PLUGINS / package / "requirements.txt"
    return [
        re.split(r"[<>=!~;\[ ]", line)[0] for line in file.read_text().split("\n") if line and line[0] != "#"
    ]


@pytest.mark.parametrize("package", PACKAGES)
def test_the_collecting_half_needs_only_its_requirements(package: str, host: Path) -> None:
    for requirement in requirements(package):
        for file in files(requirement) or []:
            target = host / "installed" / file
            if ".." not in file.parts:
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file.locate(), target)
    command = [sys.executable, "-I", "-c", COLLECT, str(host / "collector"), str(host / "installed"), package]
    run = subprocess.run(command, check=False, capture_output=True, text=True, cwd=host, env={"PATH": ""})
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout)
    assert found["name"]
    assert found["version"]
    assert found["author"]
    for payload in (found["payload"], found["second"]):
        assert isinstance(payload, dict)
        for key, value in payload.items():
            inner = json.dumps({"plugin": found["name"], "key": key, "value": value})
            assert len(inner.encode()) <= 214, inner


@pytest.mark.parametrize("package", PACKAGES)
def test_the_collecting_half_is_in_the_syntax_of_python_3_8(package: str) -> None:
    checked = [path for path in sorted((PLUGINS / package).rglob("*.py")) if path.name != "server.py"]
    assert {path.name for path in checked} >= {"__init__.py", "manifest.py", "main.py"}
    for path in checked:
        assert annotation_faults(path.read_text("utf-8")) == [], path


@pytest.mark.parametrize(
    ("code", "faults"),
    [
        ("def f() -> dict[str, float]: ...", ["line 1: dict[str, float]"]),
        ("x: int | None = 1", ["line 1: int | None"]),
        ("def f(a, *b: list[int], c: 'int', **d: int): ...", ["line 1: list[int]"]),
        ("from __future__ import annotations\ndef f() -> dict[str, float]: ...", []),
    ],
)
def test_annotations_that_python_3_8_cannot_evaluate_are_found(code: str, faults: list[str]) -> None:
    assert annotation_faults(code) == faults


def test_newer_syntax_is_found() -> None:
    with pytest.raises(SyntaxError):
        annotation_faults("match 1:\n    case 1: pass")


@pytest.mark.parametrize("python", PYTHONS, ids=lambda python: python.parents[1].name)
def test_the_collecting_halves_run_on_this_python(python: Path, host: Path) -> None:
    """Every Python from 3.8 on that is found here, with nothing installed."""
    sensors = FakeSys(host / "sys")
    sensors.add(0, "platform/coretemp.0", "coretemp", one(45, "Core 0"))
    sensors.add(1, "pci0000:00/0000:01:00.0/nvme/nvme0", "nvme", one(30, "Composite"))
    sensors.add(2, "pci0000:00/0000:02:00.0/nvme/nvme1", "nvme", one(-273.15, "Composite"))
    command = [
        str(python),
        "-I",
        "-B",
        "-W",
        "error",
        "-c",
        RUN_ON_OLD_PYTHON,
        str(host / "collector"),
        str(host),
    ]
    run = subprocess.run(command, check=False, capture_output=True, text=True, cwd=host, timeout=60)
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout) == {
        "Temperature": {"coretemp/Core 0": 45.0, "nvme@0000:01:00.0/Composite": 30.0},
        "PU_Workload": {"CPU/total": 25.0, "CPU/core 0": 25.0},
    }
    (line,) = run.stderr.splitlines()
    assert "found -273.15" in line


def test_packages_share_identical_copies() -> None:
    for name in ("collecting.py", "nvidia.py"):
        copies = {path.read_bytes() for path in PLUGINS.glob(f"*/{name}")}
        assert len(copies) == 1, f"the copies of plugins/*/{name} differ"
