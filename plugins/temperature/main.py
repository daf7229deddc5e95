"""The collecting half: temperatures of sensors and of GPUs."""

import logging
from collections import Counter

import psutil

try:
    import pynvml
except ImportError:
    pynvml = None

KEY_LENGTH = 60
"""Maximum length of a key: RSA-2048 encrypts at most 214 bytes, including plugin name and value."""

logger = logging.getLogger(__name__)
_warned = False


def get_payload() -> dict[str, float]:
    """Temperatures of all sensors in °C, by chip and label; empty if there are no sensors."""
    global _warned  # noqa: PLW0603
    readings = {**_sensors(), **_gpus()}
    if not readings and not _warned:
        logger.warning("Temperature: no sensors found on this machine, no readings will be sent")
        _warned = True
    return readings


def _sensors() -> dict[str, float]:
    # psutil supports sensors on some systems only.
    chips = psutil.sensors_temperatures() if hasattr(psutil, "sensors_temperatures") else {}
    readings: dict[str, float] = {}
    seen: Counter[str] = Counter()
    for chip, sensors in sorted(chips.items()):
        for sensor in sensors:
            name = f"{chip}/{sensor.label}"[:KEY_LENGTH] if sensor.label else chip[:KEY_LENGTH]
            seen[name] += 1
            # The order of sensors with the same name does not change between boots.
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
            # An error of one GPU does not affect the others.
            try:
                device = pynvml.nvmlDeviceGetHandleByIndex(index)
                name = f"GPU/{index} {pynvml.nvmlDeviceGetName(device)}"[:KEY_LENGTH]
                readings[name] = float(pynvml.nvmlDeviceGetTemperature(device, pynvml.NVML_TEMPERATURE_GPU))
            except pynvml.NVMLError_NotSupported:
                continue
            except pynvml.NVMLError as error:
                logger.warning("Temperature: cannot read GPU %d: %s", index, error)
    except pynvml.NVMLError as error:
        logger.warning("Temperature: cannot list GPUs: %s", error)
    finally:
        pynvml.nvmlShutdown()
    return readings
