"""The collecting half: temperatures of sensors and of GPUs."""

from __future__ import annotations

from typing import Any

from .collecting import Problems, collect, describe, import_or_none, number, printable, unique_key
from .hwmon import find_sensors, read_sensor
from .manifest import NAME
from .nvidia import read_gpus

psutil = import_or_none("psutil")
problems = Problems(NAME)


def get_payload() -> dict[str, float]:
    """Temperatures of all sensors and GPUs in °C, by device and label. What fails is left out."""
    problems_before = problems.count
    readings = collect(
        problems,
        {"sensors": _sensors, "GPUs": _gpus},
        expected="a temperature in degrees Celsius",
        is_valid=_is_temperature,
    )
    if not readings and problems.count == problems_before:
        problems.report("sensors", "found none on this machine, no readings will be sent")
    return readings


def _is_temperature(value: float) -> bool:
    # -273.15, -128, 127 and 65261.85 are what chips return for a sensor that is not connected or not there. Nothing
    # that hosts are made of works outside of these limits, and 127 to 128 is the end of an 8-bit scale.
    return -55 < value < 250 and not 127 <= value <= 128


def _sensors() -> dict[str, float | None]:
    sensors = find_sensors(problems)
    if not sensors:
        return _sensors_of_psutil()
    readings: dict[str, float | None] = {}
    for sensor in sensors:
        try:
            readings[sensor.key] = number(read_sensor(sensor))
        except (OSError, ValueError) as error:
            problems.report(sensor.key, f"cannot be read, {describe(error)}")
    return readings


def _sensors_of_psutil() -> dict[str, float | None]:
    """Sensors of other systems, and of boards whose kernel has thermal zones only."""
    # psutil supports sensors on some systems only.
    if not hasattr(psutil, "sensors_temperatures"):
        return {}
    readings: dict[str, float | None] = {}
    for chip, sensors in sorted(psutil.sensors_temperatures().items(), key=_chip_name):
        for sensor in sensors:
            name, label = printable(chip) or "unknown", printable(getattr(sensor, "label", None))
            key = unique_key(f"{name}/{label}" if label else name, readings)
            readings[key] = number(getattr(sensor, "current", None))
    return readings


def _chip_name(item: tuple[Any, Any]) -> str:
    return printable(item[0])


def _gpus() -> dict[str, float | None]:
    def temperature(pynvml: Any, device: Any) -> Any:
        return pynvml.nvmlDeviceGetTemperature(device, pynvml.NVML_TEMPERATURE_GPU)

    return read_gpus(problems, temperature)
