"""The collecting half: the load of the machine's processing units."""

import logging

import psutil

try:
    import pynvml
except ImportError:
    pynvml = None

KEY_LENGTH = 60
"""Keys have to leave room in the 214 bytes that RSA-2048 can encrypt."""
FIRST_INTERVAL = 0.1
"""Load is measured between two calls; the first has none before it, so it waits (seconds)."""

logger = logging.getLogger(__name__)
_measured = False


def get_payload() -> dict[str, float]:
    """The load of the processor, of each core and of each GPU since the last call, %."""
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
            # One that does not answer does not hide the others.
            try:
                device = pynvml.nvmlDeviceGetHandleByIndex(index)
                name = f"GPU/{index} {pynvml.nvmlDeviceGetName(device)}"[:KEY_LENGTH]
                readings[name] = float(pynvml.nvmlDeviceGetUtilizationRates(device).gpu)
            except pynvml.NVMLError_NotSupported:
                continue
            except pynvml.NVMLError as error:
                logger.warning("PU_Workload: GPU %d does not answer: %s", index, error)
    except pynvml.NVMLError as error:
        logger.warning("PU_Workload: the GPUs do not answer: %s", error)
    finally:
        pynvml.nvmlShutdown()
    return readings
