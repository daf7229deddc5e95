"""The collecting half of every package in plugins/ runs without the handler and its dependencies."""

import importlib
import json
import re
import shutil
import subprocess
import sys
from importlib.metadata import files
from pathlib import Path
from types import SimpleNamespace

import pytest

PLUGINS = Path(__file__).parents[2] / "plugins"
PACKAGES = sorted(path.parent.name for path in PLUGINS.glob("[!._]*/__init__.py"))

pytestmark = pytest.mark.usefixtures("collector_imports")

COLLECT = """
import importlib, json, sys
sys.path = [path for path in sys.path if "site-packages" not in path] + sys.argv[1:3]
for module in ("faust", "sqlalchemy", "sparkle_app", "msgspec", "cryptography"):
    try:
        importlib.import_module(module)
    except ImportError:
        continue
    sys.exit(f"{module} can be imported, so this test is not valid")
package = importlib.import_module(f"plugins.{sys.argv[3]}")
payload = package.get_payload()
second = package.get_payload()
print(json.dumps({
    "name": package.NAME, "version": package.VERSION, "author": package.AUTHOR, "topic": package.TOPIC,
    "payload": payload, "second": second,
}))
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


def test_the_load_is_that_of_this_machine(host: Path) -> None:
    sys.path.insert(0, str(host / "collector"))
    try:
        from plugins.pu_workload.main import get_payload
    finally:
        sys.path.pop(0)
    load = get_payload()
    import psutil

    cores = psutil.cpu_count()
    assert cores
    assert set(load) >= {"CPU/total"} | {f"CPU/core {number}" for number in range(cores)}
    assert all(0 <= value <= 100 for value in load.values())


def test_a_machine_without_sensors_sends_nothing_and_warns_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import psutil

    from plugins.temperature import main

    monkeypatch.setattr(psutil, "sensors_temperatures", dict, raising=False)
    monkeypatch.setattr(main, "_gpus", dict)
    monkeypatch.setattr(main, "_warned", False)
    assert main.get_payload() == {}
    assert main.get_payload() == {}
    assert [record.message for record in caplog.records] == [
        "Temperature: no sensors found on this machine, no readings will be sent"
    ]


def test_sensors_with_the_same_name_are_numbered(monkeypatch: pytest.MonkeyPatch) -> None:
    import psutil

    from plugins.temperature import main

    def sensor(label: str, current: float) -> SimpleNamespace:
        return SimpleNamespace(label=label, current=current)

    chips = {"nvme": [sensor("Composite", 30.0), sensor("Composite", 31.0)], "acpitz": [sensor("", 27)]}
    monkeypatch.setattr(psutil, "sensors_temperatures", lambda: chips, raising=False)
    assert main._sensors() == {"acpitz": 27.0, "nvme/Composite": 30.0, "nvme/Composite #2": 31.0}


@pytest.mark.parametrize("package", PACKAGES)
def test_an_error_of_one_gpu_does_not_affect_the_others(
    package: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The driver is simulated, because test machines have no GPUs."""
    main = importlib.import_module(f"plugins.{package}.main")
    if not hasattr(main, "pynvml"):
        return
    import pynvml

    errors = {1: pynvml.NVML_ERROR_NOT_SUPPORTED, 2: pynvml.NVML_ERROR_GPU_IS_LOST}

    def reading(device: int, *_: object) -> int:
        if device in errors:
            raise pynvml.NVMLError(errors[device])
        return 50 + device

    monkeypatch.setattr(pynvml, "nvmlInit", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlShutdown", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetCount", lambda: 4)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByIndex", lambda index: index)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetName", lambda _: "NVIDIA " + "X" * 100)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetTemperature", reading)
    monkeypatch.setattr(
        pynvml, "nvmlDeviceGetUtilizationRates", lambda device: SimpleNamespace(gpu=reading(device))
    )
    found = main._gpus()
    assert {key[:6]: value for key, value in found.items()} == {"GPU/0 ": 50.0, "GPU/3 ": 53.0}
    assert all(len(key) <= 60 for key in found)
    # A GPU that does not support the reading is skipped silently; one that is lost is logged.
    assert [record.message.partition(": ")[2] for record in caplog.records] == [
        "cannot read GPU 2: GPU is lost"
    ]
