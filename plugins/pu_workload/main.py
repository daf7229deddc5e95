"""The collecting half: load of the processor and of GPUs."""

import logging

import psutil

try:
    import pynvml
except ImportError:
    pynvml = None

KEY_LENGTH = 60
"""Maximum length of a key: RSA-2048 encrypts at most 214 bytes, including plugin name and value."""
FIRST_INTERVAL = 0.1
"""Seconds that the first call takes. Load is measured since the previous call, and the first one has none."""

logger = logging.getLogger(__name__)
_measured = False


def get_payload() -> dict[str, float]:
    """Load of the processor, of each core and of each GPU since the previous call, in %."""
    global _measured  # noqa: PLW0603
    cores = psutil.cpu_percent(interval=None if _measured else FIRST_INTERVAL, percpu=True)
    _measured = True
    readings = {"CPU/total": round(sum(cores) / len(cores), 2)} if cores else {}
    readings.update({f"CPU/core {number}": float(load) for number, load in enumerate(cores)})
    return {**readings, **_gpus()}


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
                readings[name] = float(pynvml.nvmlDeviceGetUtilizationRates(device).gpu)
            except pynvml.NVMLError_NotSupported:
                continue
            except pynvml.NVMLError as error:
                logger.warning("PU_Workload: cannot read GPU %d: %s", index, error)
    except pynvml.NVMLError as error:
        logger.warning("PU_Workload: cannot list GPUs: %s", error)
    finally:
        pynvml.nvmlShutdown()
    return readings
