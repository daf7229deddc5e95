"""The collecting half: the machine's temperatures."""

import logging
from collections import Counter

import psutil

try:
    import pynvml
except ImportError:
    pynvml = None

KEY_LENGTH = 60
"""Keys have to leave room in the 214 bytes that RSA-2048 can encrypt."""

logger = logging.getLogger(__name__)
_told = False


def get_payload() -> dict[str, float]:
    """The temperatures of all sensors, °C, by a name that a person recognises; nothing where there are no sensors."""
    global _told  # noqa: PLW0603
    readings = {**_sensors(), **_gpus()}
    if not readings and not _told:
        logger.warning("Temperature: this machine shows no sensors, so there is nothing to send")
        _told = True
    return readings


def _sensors() -> dict[str, float]:
    # Not every system lets psutil read sensors.
    chips = psutil.sensors_temperatures() if hasattr(psutil, "sensors_temperatures") else {}
    readings: dict[str, float] = {}
    seen: Counter[str] = Counter()
    for chip, sensors in sorted(chips.items()):
        for sensor in sensors:
            name = f"{chip}/{sensor.label}"[:KEY_LENGTH] if sensor.label else chip[:KEY_LENGTH]
            seen[name] += 1
            # Two sensors of one name keep their order from boot to boot.
            readings[name if seen[name] == 1 else f"{name} #{seen[name]}"] = float(sensor.current)
    return readings


def _gpus() -> dict[str, float]:
    if pynvml is None:
        return {}
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return {}
    readings: dict[str, float] = {}
    try:
        for index in range(pynvml.nvmlDeviceGetCount()):
            # One that does not answer does not hide the others.
            try:
                device = pynvml.nvmlDeviceGetHandleByIndex(index)
                name = f"GPU/{index} {pynvml.nvmlDeviceGetName(device)}"[:KEY_LENGTH]
                readings[name] = float(pynvml.nvmlDeviceGetTemperature(device, pynvml.NVML_TEMPERATURE_GPU))
            except pynvml.NVMLError_NotSupported:
                continue
            except pynvml.NVMLError as error:
                logger.warning("Temperature: GPU %d does not answer: %s", index, error)
    except pynvml.NVMLError as error:
        logger.warning("Temperature: the GPUs do not answer: %s", error)
    finally:
        pynvml.nvmlShutdown()
    return readings
