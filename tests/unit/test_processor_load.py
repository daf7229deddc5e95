"""The collecting half of PU_Workload: load of the processor between two readings."""

import sys
import threading
from collections import namedtuple
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from tests.support.eventually import eventually

HEAD = "cpu  1 2 3 4\n"
TAIL = "intr 1 2 3\nctxt 5\n"


class Machine:
    """The file /proc/stat, and the clock."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def show(self, **ticks: str) -> None:
        """Write the lines of the cores, and let 5 s pass."""
        cores = "".join(f"{core} {fields}\n" for core, fields in ticks.items())
        self.file.write_text(HEAD + cores + TAIL)
        self.now += 5


@pytest.fixture
def pu_workload(collector_imports: None, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module, newly imported, on a machine without GPUs."""
    monkeypatch.setitem(sys.modules, "pynvml", None)
    import plugins.pu_workload.main as module

    return module


@pytest.fixture
def machine(pu_workload: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    machine = Machine(tmp_path / "stat")
    monkeypatch.setattr("plugins.pu_workload.processor.PROC_STAT", str(machine.file))
    monkeypatch.setattr("plugins.pu_workload.processor.time", machine)
    return machine


def test_the_load_is_that_of_this_machine(pu_workload: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    import psutil

    monkeypatch.setattr("plugins.pu_workload.processor.SHORTEST_INTERVAL", 0)
    assert pu_workload.get_payload() == {}
    # A core has no load until the kernel has counted a tick, a hundredth of a second.
    cores = psutil.cpu_count() or 0
    load = eventually(pu_workload.get_payload, lambda found: len(found) == 1 + cores)
    assert set(load) == {"CPU/total"} | {f"CPU/core {number}" for number in range(cores)}
    assert all(type(value) is float and 0 <= value <= 100 for value in load.values())


def test_the_first_reading_is_the_baseline(pu_workload: ModuleType, machine: Machine) -> None:
    machine.show(cpu0="900 0 100 0 0 0 0 0 0 0", cpu1="0 0 0 1000 0 0 0 0 0 0")
    assert pu_workload.get_payload() == {}
    machine.show(cpu0="940 10 110 40 0 0 0 0 0 0", cpu1="5 0 0 1090 5 0 0 0 0 0")
    assert pu_workload.get_payload() == {"CPU/total": 32.5, "CPU/core 0": 60.0, "CPU/core 1": 5.0}


def test_another_thread_measures_the_same(pu_workload: ModuleType, machine: Machine) -> None:
    machine.show(cpu0="0 0 0 0")
    pu_workload.get_payload()
    machine.show(cpu0="25 0 0 75")
    found: list[dict[str, float]] = []
    thread = threading.Thread(target=lambda: found.append(pu_workload.get_payload()))
    thread.start()
    thread.join()
    assert found == [{"CPU/total": 25.0, "CPU/core 0": 25.0}]


def test_a_burst_of_calls_does_not_send_zeros(pu_workload: ModuleType, machine: Machine) -> None:
    machine.show(cpu0="0 0 0 0")
    pu_workload.get_payload()
    machine.show(cpu0="50 0 0 50")
    pu_workload.get_payload()
    machine.show(cpu0="50 0 0 51")
    machine.now -= 4.6
    assert pu_workload.get_payload() == {}
    # The next reading covers the whole time since the last one that was sent.
    machine.show(cpu0="60 0 0 90")
    assert pu_workload.get_payload() == {"CPU/total": 20.0, "CPU/core 0": 20.0}


def test_cores_keep_their_numbers_while_one_is_offline(pu_workload: ModuleType, machine: Machine) -> None:
    machine.show(cpu0="0 0 0 0", cpu1="0 0 0 0", cpu10="0 0 0 0")
    pu_workload.get_payload()
    machine.show(cpu0="10 0 0 90", cpu10="30 0 0 70")
    assert pu_workload.get_payload() == {"CPU/total": 20.0, "CPU/core 0": 10.0, "CPU/core 10": 30.0}
    # It is back: the first reading is its baseline.
    machine.show(cpu0="20 0 0 180", cpu1="9 0 0 0", cpu10="60 0 0 140")
    assert "CPU/core 1" not in pu_workload.get_payload()
    machine.show(cpu0="30 0 0 270", cpu1="89 0 0 20", cpu10="90 0 0 210")
    assert pu_workload.get_payload()["CPU/core 1"] == 80.0


def test_counters_that_decrease_and_cores_that_stand_still(pu_workload: ModuleType, machine: Machine) -> None:
    machine.show(cpu0="100 0 0 500 90", cpu1="7 0 0 7")
    pu_workload.get_payload()
    machine.show(cpu0="150 0 0 550 20", cpu1="7 0 0 7")
    assert pu_workload.get_payload() == {"CPU/total": 50.0, "CPU/core 0": 50.0}


def test_guest_time_is_counted_once(pu_workload: ModuleType, machine: Machine) -> None:
    machine.show(cpu0="0 0 0 0 0 0 0 0 0 0")
    pu_workload.get_payload()
    machine.show(cpu0="40 0 0 50 10 0 0 0 40 0")
    assert pu_workload.get_payload()["CPU/core 0"] == 40.0


@pytest.mark.parametrize("content", [b"", b"cpu0\n", b"cpu0 1 2 x 4\n", b"\xff\xfe\n"])
def test_a_file_without_times_is_named_once(
    pu_workload: ModuleType, machine: Machine, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    for _ in range(2):
        machine.file.write_bytes(content)
        machine.now += 5
        assert pu_workload.get_payload() == {}
    (line,) = caplog.messages
    assert line.startswith("PU_Workload: processor: cannot be read, ")


def test_a_file_that_cannot_be_read_is_named_once(
    pu_workload: ModuleType, machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    machine.file.mkdir()
    for _ in range(3):
        machine.now += 5
        assert pu_workload.get_payload() == {}
    (line,) = caplog.messages
    assert line.startswith("PU_Workload: processor: cannot be read, IsADirectoryError: ")


def test_other_systems_use_psutil(
    pu_workload: ModuleType, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    cpu = namedtuple("cpu", ["user", "system", "idle", "guest"])
    times = [[cpu(0, 0, 0, 0), cpu(0, 0, 0, 0)], [cpu(0.5, 0.5, 3, 0.5), cpu(0, 1, 0, 0)]]
    fake = SimpleNamespace(cpu_times=lambda percpu: times.pop(0))
    monkeypatch.setattr("plugins.pu_workload.processor.psutil", fake)
    assert pu_workload.get_payload() == {}
    machine.now += 5
    assert pu_workload.get_payload() == {"CPU/total": 40.0, "CPU/core 0": 25.0, "CPU/core 1": 100.0}


def test_psutil_that_fails_or_is_missing_costs_the_reading_only(
    pu_workload: ModuleType,
    machine: Machine,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("plugins.pu_workload.processor.psutil", None)
    assert pu_workload.get_payload() == {}
    (line,) = caplog.messages
    assert line.startswith("PU_Workload: processor: cannot be read, AttributeError: ")
