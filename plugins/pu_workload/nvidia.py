"""NVIDIA GPUs. An identical copy is in every plugin that needs it, as of collecting.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .collecting import Problems, describe, import_or_none, number, printable, unique_key

pynvml = import_or_none("pynvml")

# Values of NVMLError. Classes of errors differ between versions of the library, the values do not.
NOT_SUPPORTED, DRIVER_NOT_LOADED, LIBRARY_NOT_FOUND = 3, 9, 12

_several = False


def read_gpus(problems: Problems, read: Callable[[Any, Any], Any]) -> dict[str, float | None]:
    """One number of each GPU.

    Arguments:
        problems: gets one line for each GPU that fails.
        read: the number, by the module pynvml and the GPU's handle.

    Returns:
        numbers by key, ``GPU/0 NAME``; with several GPUs ``GPU/PCI-ADDRESS NAME``, because their indices change. None
        if the GPU returned no number. A GPU that fails is left out, and so is one that does not support it: with MIG
        a GPU does not know its load.
    """
    if pynvml is None:
        return {}
    try:
        pynvml.nvmlInit()
    except Exception as error:
        # A machine without a GPU, or without its driver.
        if _value(error) not in (DRIVER_NOT_LOADED, LIBRARY_NOT_FOUND):
            problems.report("GPUs", f"cannot start NVML, {describe(error)}")
        return {}
    try:
        return _read_all(problems, read)
    finally:
        try:
            pynvml.nvmlShutdown()
        except Exception as error:
            problems.report("GPUs: shutdown", f"cannot stop NVML, {describe(error)}")


def _read_all(problems: Problems, read: Callable[[Any, Any], Any]) -> dict[str, float | None]:
    global _several  # noqa: PLW0603
    readings: dict[str, float | None] = {}
    try:
        count = int(pynvml.nvmlDeviceGetCount())
    except Exception as error:
        problems.report("GPUs", f"cannot be counted, {describe(error)}")
        return readings
    # When one of several falls off the bus, the others keep their keys.
    _several = _several or count > 1
    for index in range(count):
        try:
            device = pynvml.nvmlDeviceGetHandleByIndex(index)
            address = (_several and _address(device)) or index
            key = unique_key(f"GPU/{address} {printable(pynvml.nvmlDeviceGetName(device))}", readings)
            readings[key] = number(read(pynvml, device))
        except Exception as error:
            if _value(error) != NOT_SUPPORTED:
                problems.report(f"GPU {index}", f"cannot be read, {describe(error)}")
    return readings


def _address(device: Any) -> str:
    """The PCI address as in /sys, empty if NVML does not know it."""
    try:
        address = printable(pynvml.nvmlDeviceGetPciInfo(device).busId).lower()
    except Exception:
        return ""
    # NVML writes the domain with eight digits, /sys with four.
    return address[4:] if len(address) == len("00000000:01:00.0") and address.startswith("0000") else address


def _value(error: Exception) -> object:
    return getattr(error, "value", None)
