"""Temperature sensors of Linux, by device.

psutil reads the same files, but lists all sensors of a kind together: it cannot tell two disks apart.
"""

from __future__ import annotations

import glob
import os
import re
from typing import NamedTuple

from .collecting import Problems, describe, printable, unique_key

SYS = "/sys"
# coretemp is missing in /sys/class on some systems. On old kernels the files are in the subfolder device/.
_FOLDERS = ("class/hwmon/hwmon*", "class/hwmon/hwmon*/device", "devices/platform/coretemp.*/hwmon/hwmon*")

_PCI = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
_SCSI = re.compile(r"\d+:(\d+:\d+:\d+)")
_I2C = re.compile(r"\d+-([0-9a-f]{4})")
_USB = re.compile(r"\d+-(\d{1,3}(?:\.\d+)*)")
_several: set[str] = set()


class Sensor(NamedTuple):
    """A temperature sensor."""

    key: str
    path: str
    """Its files without their suffixes: /sys/class/hwmon/hwmon0/temp1."""


class _Device(NamedTuple):
    chip: str
    address: str
    folder: str
    inputs: list[str]


def find_sensors(problems: Problems) -> list[Sensor]:
    """All sensors, also those that cannot be read now, so that the keys of the others do not change."""
    devices = _devices(problems)
    chips = [device.chip for device in devices]
    # When one of several disks is removed, the others keep their keys.
    _several.update(chip for chip in chips if chips.count(chip) > 1)
    found: dict[str, Sensor] = {}
    for device in devices:
        name = device.chip
        if name in _several and device.address:
            name = f"{name}@{device.address}"
        for path in device.inputs:
            label = _read(f"{path}_label") if os.path.exists(f"{path}_label") else ""
            key = unique_key(f"{name}/{label}" if label else name, found)
            found[key] = Sensor(key, path)
    return list(found.values())


def read_sensor(sensor: Sensor) -> float:
    """The temperature in °C.

    Raises:
        OSError: when the driver cannot read it.
        ValueError: when the driver returned no number, or reports that the sensor is faulty.
    """
    value = float(_read(f"{sensor.path}_input", strict=True)) / 1000.0
    if _read(f"{sensor.path}_fault") == "1":
        raise ValueError("the driver reports a faulty sensor")
    return value


def _devices(problems: Problems) -> list[_Device]:
    found: dict[str, _Device] = {}
    for pattern in _FOLDERS:
        for folder in sorted(glob.glob(os.path.join(SYS, pattern))):
            # String order (temp1, temp10, temp2), in which psutil numbers sensors without a label.
            inputs = sorted(path[: -len("_input")] for path in glob.glob(f"{folder}/temp*_input"))
            if not inputs:
                continue
            try:
                chip = _read(f"{folder}/name", strict=True) or "unknown"
            except OSError as error:
                problems.report(folder, f"cannot read the name of its chip, {describe(error)}")
                continue
            # The same folder may be found in two ways.
            found[os.path.realpath(folder)] = _Device(chip, _address(chip, folder), folder, inputs)
    # By place: the number of a hwmon folder depends on the order in which drivers were loaded.
    return [found[real] for real in sorted(found, key=lambda real: (found[real].address, real))]


def _address(chip: str, folder: str) -> str:
    """Where the device is connected, without the numbers that the kernel assigns while it starts.

    For example ``0000:01:00.0`` (PCI), ``0000:00:17.0-ata2`` (a disk at the controller's second port), ``1``
    (coretemp.1: the second processor).
    """
    device = folder if folder.endswith("/device") else f"{folder}/device"
    if not os.path.exists(device):
        return ""
    parts = os.path.realpath(device).split("/")
    for depth in range(len(parts) - 1, 0, -1):
        if _PCI.fullmatch(parts[depth]):
            return printable(
                "-".join([parts[depth], *_below_pci("/".join(parts[: depth + 1]), parts[depth + 1 :])])
            )
    # A platform device: coretemp.1, thermal_zone0, 1-0048.
    last = parts[-1]
    return printable(last[len(chip) + 1 :] if last.startswith(f"{chip}.") else last)


def _below_pci(folder: str, parts: list[str]) -> list[str]:
    """What distinguishes the devices of a controller: the port, or the address on its bus."""
    address: list[str] = []
    usb = ""
    for part in parts:
        parent, folder = folder, f"{folder}/{part}"
        if re.fullmatch(r"ata\d+", part):
            address.append(f"ata{_read(f'{folder}/ata_port/{part}/port_no') or _position(parent, part) + 1}")
        elif part.startswith("end_device-"):
            # The numbers of SCSI targets follow the order in which disks are found.
            sas = _read(f"{folder}/sas_device/{part}/sas_address")
            if sas:
                return [*address, f"sas{sas}"]
        elif re.fullmatch(r"host\d+|i2c-\d+", part):
            # Below an ATA port is one host only, and below most controllers one adapter.
            position = _position(parent, part)
            address.extend([f"{part[:4].rstrip('-')}{position}"] if position else [])
        elif _USB.fullmatch(part):
            usb = _USB.sub(r"usb\1", part)
        else:
            match = _SCSI.fullmatch(part) or _I2C.fullmatch(part)
            address.extend([match[1]] if match and match[1] != "0:0:0" else [])
    return [usb, *address] if usb else address


def _position(parent: str, part: str) -> int:
    """The position of the folder among those of its kind, which the kernel numbers across the machine."""
    kind = part.rstrip("0123456789")
    try:
        names = os.listdir(parent)
    except OSError:
        return 0
    siblings = [name for name in names if re.fullmatch(rf"{re.escape(kind)}\d+", name)]
    return sum(int(name[len(kind) :]) < int(part[len(kind) :]) for name in siblings)


def _read(path: str, *, strict: bool = False) -> str:
    """The content of a file as text; empty if it cannot be read, unless ``strict``."""
    try:
        with open(path, "rb") as file:
            return printable(file.read(4096))
    except OSError:
        if strict:
            raise
        return ""
