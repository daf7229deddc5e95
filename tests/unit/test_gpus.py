"""GPUs in the collecting halves. The driver is simulated, because test machines have no GPUs."""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pynvml
import pytest

PLUGINS = Path(__file__).parents[2] / "plugins"
PACKAGES = sorted(path.parent.name for path in PLUGINS.glob("*/nvidia.py"))

pytestmark = pytest.mark.usefixtures("collector_imports")


class Driver:
    """What pynvml calls: GPUs by index. A value that is an exception is raised."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, values: list[Any]) -> None:
        self.values = values
        self.addresses: list[Any] = [f"00000000:{index + 1:02X}:00.0" for index in range(len(values))]
        self.name: Any = "NVIDIA L4"
        self.running = 0
        functions: dict[str, Callable[..., Any]] = {
            "nvmlInit": lambda: self.count_running(1),
            "nvmlShutdown": lambda: self.count_running(-1),
            "nvmlDeviceGetCount": lambda: len(self.values),
            "nvmlDeviceGetHandleByIndex": lambda index: index,
            "nvmlDeviceGetName": lambda _: raised(self.name),
            "nvmlDeviceGetPciInfo": lambda index: SimpleNamespace(busId=raised(self.addresses[index])),
            "nvmlDeviceGetTemperature": lambda index, _: raised(self.values[index]),
            "nvmlDeviceGetUtilizationRates": lambda index: SimpleNamespace(gpu=raised(self.values[index])),
        }
        for name, function in functions.items():
            monkeypatch.setattr(pynvml, name, function)

    def count_running(self, change: int) -> None:
        self.running += change


def raised(value: Any) -> Any:
    if isinstance(value, Exception):
        raise value
    return value


def fail(error: Exception) -> Callable[..., Any]:
    return lambda *_: raised(error)


def nvml(value: int) -> Exception:
    error: Exception = pynvml.NVMLError(value)
    return error


LOST = nvml(pynvml.NVML_ERROR_GPU_IS_LOST)
NOT_SUPPORTED = nvml(pynvml.NVML_ERROR_NOT_SUPPORTED)


@pytest.fixture(params=PACKAGES)
def module(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The collecting half of each package that reads GPUs, on a machine that has nothing else to read."""
    module = importlib.import_module(f"plugins.{request.param}.main")
    if request.param == "temperature":
        monkeypatch.setattr("plugins.temperature.hwmon.SYS", str(tmp_path))
        monkeypatch.setattr(module, "psutil", None)
    else:
        monkeypatch.setattr("plugins.pu_workload.processor.cpu_times", dict)
    return module


def test_one_gpu_has_its_index_as_before(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    Driver(monkeypatch, [50])
    assert module.get_payload() == {"GPU/0 NVIDIA L4": 50.0}


def test_several_gpus_have_their_addresses(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = Driver(monkeypatch, [50, 51])
    expected = {"GPU/0000:01:00.0 NVIDIA L4": 50.0, "GPU/0000:02:00.0 NVIDIA L4": 51.0}
    assert module.get_payload() == expected
    driver.values.reverse()
    driver.addresses.reverse()
    assert module.get_payload() == expected
    # One has fallen off the bus.
    del driver.values[0], driver.addresses[0]
    assert module.get_payload() == {"GPU/0000:01:00.0 NVIDIA L4": 50.0}


@pytest.mark.parametrize(
    ("address", "shown"),
    [(b"00000000:0A:00.0", "0000:0a:00.0"), ("00010000:0A:00.0", "00010000:0a:00.0"), (NOT_SUPPORTED, "0")],
)
def test_addresses(module: ModuleType, monkeypatch: pytest.MonkeyPatch, address: Any, shown: str) -> None:
    driver = Driver(monkeypatch, [50, 51])
    driver.addresses[0] = address
    assert sorted(module.get_payload()) == sorted([f"GPU/{shown} NVIDIA L4", "GPU/0000:02:00.0 NVIDIA L4"])


@pytest.mark.parametrize(
    ("name", "key"),
    [(b"Tesla \xff", "GPU/0 Tesla \ufffd"), ("NVIDIA " + "X" * 100, "GPU/0 NVIDIA " + "X" * 47)],
)
def test_names(module: ModuleType, monkeypatch: pytest.MonkeyPatch, name: Any, key: str) -> None:
    Driver(monkeypatch, [50]).name = name
    assert module.get_payload() == {key: 50.0}


def test_a_gpu_that_fails_is_named_once_and_does_not_affect_the_others(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # MIG, and old GPUs: the driver does not support the reading.
    driver = Driver(monkeypatch, [50, NOT_SUPPORTED, LOST, 53])
    for _ in range(3):
        assert list(module.get_payload().values()) == [50.0, 53.0]
    assert caplog.messages == [f"{module.NAME}: GPU 2: cannot be read, NVMLError_GpuIsLost: GPU is lost"]
    assert driver.running == 0


@pytest.mark.parametrize("value", [None, float("nan"), 2**32 - 1, "50"])
def test_a_value_that_is_none_is_left_out_and_named_once(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, value: Any
) -> None:
    Driver(monkeypatch, [value, 51])
    for _ in range(3):
        assert module.get_payload() == {"GPU/0000:02:00.0 NVIDIA L4": 51.0}
    (line,) = caplog.messages
    assert line.startswith(f"{module.NAME}: GPU/0000:01:00.0 NVIDIA L4: expected a ")


@pytest.mark.parametrize(
    ("function", "lines"),
    [
        ("nvmlInit", 1),
        ("nvmlDeviceGetCount", 1),
        ("nvmlDeviceGetHandleByIndex", 2),
        ("nvmlDeviceGetName", 2),
        ("nvmlShutdown", 1),
    ],
)
@pytest.mark.parametrize(
    "error", [nvml(pynvml.NVML_ERROR_UNKNOWN), AttributeError("no such function"), OSError()]
)
def test_each_function_may_fail(
    module: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    function: str,
    lines: int,
    error: Exception,
) -> None:
    Driver(monkeypatch, [50, 51])
    monkeypatch.setattr(pynvml, function, fail(error))
    for _ in range(3):
        found = module.get_payload()
        assert list(found.values()) == ([50.0, 51.0] if function == "nvmlShutdown" else [])
    assert len([line for line in caplog.messages if type(error).__name__ in line]) == lines
    assert len(caplog.messages) == lines


@pytest.mark.parametrize("value", [pynvml.NVML_ERROR_LIBRARY_NOT_FOUND, pynvml.NVML_ERROR_DRIVER_NOT_LOADED])
def test_a_machine_without_a_driver_has_no_gpus(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, value: int
) -> None:
    Driver(monkeypatch, [50])
    monkeypatch.setattr(pynvml, "nvmlInit", fail(nvml(value)))
    assert module.get_payload() == {}
    assert [line for line in caplog.messages if "GPU" in line] == []


def test_an_old_library_has_neither_functions_nor_errors(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    nvidia = sys.modules[module.__name__.replace(".main", ".nvidia")]
    monkeypatch.setattr(nvidia, "pynvml", SimpleNamespace(nvmlInit=lambda: None))
    for _ in range(3):
        assert module.get_payload() == {}
    assert [line.split(",")[0] for line in caplog.messages] == [
        f"{module.NAME}: GPUs: cannot be counted",
        f"{module.NAME}: GPUs: shutdown: cannot stop NVML",
    ]
