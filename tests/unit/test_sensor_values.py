"""Sensors that return nonsense, or nothing, cost the collecting half of Temperature only their own readings."""

import json
import math
from decimal import Decimal
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.fake_sys import FakeSys, one

DISK = "pci0000:00/0000:00:1b.0/0000:02:00.0/nvme/nvme0"


@pytest.fixture
def psutil(temperature: ModuleType, tree: FakeSys, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A psutil that is asked because the tree has no chips."""
    fake = SimpleNamespace(sensors_temperatures=dict)
    monkeypatch.setattr(temperature, "psutil", fake)
    return fake


def sensor(label: Any, current: Any) -> SimpleNamespace:
    return SimpleNamespace(label=label, current=current)


NONSENSE = [-273.15, -128, -127.5, -62, -55, 127, 127.5, 128, 250, 255, 65261.85]


@pytest.mark.parametrize("value", NONSENSE)
def test_nonsense_is_left_out_and_named_once(
    temperature: ModuleType, tree: FakeSys, caplog: pytest.LogCaptureFixture, value: float
) -> None:
    tree.add(0, DISK, "nvme", {**one(value, "Composite"), "temp2_input": "31000"})
    for _ in range(3):
        assert temperature.get_payload() == {"nvme": 31.0}
    assert caplog.messages == [
        f"Temperature: nvme/Composite: expected a temperature in degrees Celsius, found {value:.2f}; it is left out"
    ]


@pytest.mark.parametrize("value", [-54.9, -0.5, 0, 126.9, 128.1, 249])
def test_what_can_be_a_temperature_is_sent(temperature: ModuleType, tree: FakeSys, value: float) -> None:
    tree.add(0, DISK, "nvme", one(value))
    assert temperature.get_payload() == {"nvme": pytest.approx(value)}


@pytest.mark.parametrize("content", ["", "nan", "N/A", b"\xff\xfe", b"12\x0034"])
def test_what_is_no_number_costs_only_its_sensor(
    temperature: ModuleType, tree: FakeSys, content: str | bytes
) -> None:
    tree.add(0, DISK, "nvme", {"temp1_input": content, "temp2_input": "31000"})
    assert temperature.get_payload() == {"nvme #2": 31.0}


def test_a_sensor_that_its_driver_calls_faulty_is_left_out(temperature: ModuleType, tree: FakeSys) -> None:
    tree.add(0, DISK, "nvme", {**one(30), "temp1_fault": "1\n", "temp2_input": "31000"})
    assert temperature.get_payload() == {"nvme #2": 31.0}


def test_a_machine_without_sensors_sends_nothing_and_warns_once(
    temperature: ModuleType, psutil: SimpleNamespace, caplog: pytest.LogCaptureFixture
) -> None:
    assert temperature.get_payload() == temperature.get_payload() == {}
    assert caplog.messages == ["Temperature: sensors: found none on this machine, no readings will be sent"]


@pytest.mark.parametrize(
    ("current", "sent"),
    [
        (None, None),
        (math.nan, None),
        (math.inf, None),
        (-273.15, None),
        (65261.85, None),
        ("40", None),
        (b"40", None),
        (True, None),
        ([], None),
        (10**400, None),
        (Decimal("40.5"), 40.5),
        (40, 40.0),
    ],
)
def test_values_of_psutil(
    temperature: ModuleType, psutil: SimpleNamespace, current: Any, sent: float | None
) -> None:
    psutil.sensors_temperatures = lambda: {"cpu": [sensor("a", current), sensor("b", 30.0)]}
    found = temperature.get_payload()
    assert found == ({"cpu/b": 30.0} if sent is None else {"cpu/a": sent, "cpu/b": 30.0})
    assert {type(value) for value in found.values()} == {float}


def test_labels_of_psutil(temperature: ModuleType, psutil: SimpleNamespace) -> None:
    psutil.sensors_temperatures = lambda: {
        "": [sensor(None, 20.0)],
        b"bytes": [sensor("", 21.0)],
        "acpitz": [sensor("", 27), sensor("", None), sensor("", 29)],
        "nvme": [sensor("a\udcff", 30.0), sensor(b"b\xff", 31.0), SimpleNamespace(current=32.0), object()],
    }
    assert temperature.get_payload() == {
        "unknown": 20.0,
        "bytes": 21.0,
        "acpitz": 27.0,
        "acpitz #3": 29.0,
        "nvme/a\ufffd": 30.0,
        "nvme/b\ufffd": 31.0,
        "nvme": 32.0,
    }


class UnprintableError(Exception):
    def __str__(self) -> str:
        raise ValueError


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (PermissionError(13, "denied"), "PermissionError: [Errno 13] denied"),
        (OSError(5, "I/O error"), "OSError: [Errno 5] I/O error"),
        (RuntimeError("a\n\x1b[2Jb"), r"RuntimeError: a \x1b[2Jb"),
        (RuntimeError(), "RuntimeError"),
        (UnprintableError(), "UnprintableError"),
    ],
)
def test_psutil_may_raise(
    temperature: ModuleType,
    psutil: SimpleNamespace,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    text: str,
) -> None:
    def fail() -> None:
        raise error

    psutil.sensors_temperatures = fail
    assert temperature.get_payload() == temperature.get_payload() == {}
    assert caplog.messages == [f"Temperature: sensors: cannot be read, {text}"]


@pytest.mark.parametrize("absent", [None, SimpleNamespace()])
def test_without_psutil_or_its_function_the_files_are_read(
    temperature: ModuleType, tree: FakeSys, monkeypatch: pytest.MonkeyPatch, absent: object
) -> None:
    monkeypatch.setattr(temperature, "psutil", absent)
    assert temperature.get_payload() == {}
    tree.add(0, DISK, "nvme", one(30))
    assert temperature.get_payload() == {"nvme": 30.0}


ANYTHING = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.decimals(), st.text(), st.binary(), st.lists(st.none())
)  # fmt: skip


@settings(
    max_examples=200,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    deadline=None,
)
@given(
    chips=st.dictionaries(
        st.text() | st.binary(),
        st.lists(st.tuples(ANYTHING, ANYTHING | st.floats(-60, 260)), max_size=5),
        max_size=5,
    ),
)
def test_whatever_psutil_returns_can_be_sent(
    temperature: ModuleType, psutil: SimpleNamespace, chips: dict[Any, list[tuple[Any, Any]]]
) -> None:
    found = {chip: [sensor(*each) for each in sensors] for chip, sensors in chips.items()}
    psutil.sensors_temperatures = lambda: found
    for key, value in temperature.get_payload().items():
        assert type(key) is str
        assert key
        assert type(value) is float
        assert len(json.dumps({"plugin": "Temperature", "key": key, "value": value}, allow_nan=False)) <= 214
