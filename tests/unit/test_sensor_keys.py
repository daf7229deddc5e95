"""Keys of the collecting half of Temperature stay with the device, and fit into a record."""

import json
from collections.abc import Callable
from types import ModuleType

import pytest

from tests.support.fake_sys import FakeSys, one

NVME_A = "pci0000:00/0000:00:1b.0/0000:02:00.0/nvme/nvme{}"
NVME_B = "pci0000:00/0000:00:1d.0/0000:55:00.0/nvme/nvme{}"
ATA = "pci0000:00/0000:00:17.0/ata{0}/host{1}/target{1}:0:0/{1}:0:0:0"


def test_single_devices_have_no_address(temperature: ModuleType, tree: FakeSys) -> None:
    tree.add(0, "virtual/thermal/thermal_zone0", "acpitz", {"temp1_input": "27800", "temp2_input": "29800"})
    cores: dict[str, str | bytes] = {"temp1_input": "50000", "temp1_label": "Package id 0"}
    tree.add(1, "platform/coretemp.0", "coretemp", {**cores, "temp2_input": "45000", "temp2_label": "Core 0"})
    tree.add(2, NVME_A.format(0), "nvme", one(34.85, "Composite"))
    assert temperature.get_payload() == {
        "acpitz": 27.8,
        "acpitz #2": 29.8,
        "coretemp/Package id 0": 50.0,
        "coretemp/Core 0": 45.0,
        "nvme/Composite": 34.85,
    }


def test_two_disks_keep_their_keys_when_their_numbers_change(temperature: ModuleType, tree: FakeSys) -> None:
    tree.add(
        0,
        NVME_A.format(0),
        "nvme",
        {**one(30, "Composite"), "temp2_input": "31000", "temp2_label": "Sensor 1"},
    )
    tree.add(
        1,
        NVME_B.format(1),
        "nvme",
        {**one(40, "Composite"), "temp2_input": "41000", "temp2_label": "Sensor 1"},
    )
    before = temperature.get_payload()
    assert before == {
        "nvme@0000:02:00.0/Composite": 30.0,
        "nvme@0000:02:00.0/Sensor 1": 31.0,
        "nvme@0000:55:00.0/Composite": 40.0,
        "nvme@0000:55:00.0/Sensor 1": 41.0,
    }
    for number in (0, 1):
        tree.remove(number)
    tree.add(2, NVME_B.format(0), "nvme", one(40, "Composite"))
    tree.add(3, NVME_A.format(1), "nvme", one(30, "Composite"))
    assert temperature.get_payload() == {key: before[key] for key in before if "Composite" in key}


def test_the_disk_that_is_left_keeps_its_key(temperature: ModuleType, tree: FakeSys) -> None:
    tree.add(0, NVME_A.format(0), "nvme", one(30, "Composite"))
    tree.add(1, NVME_B.format(1), "nvme", one(40, "Composite"))
    temperature.get_payload()
    tree.remove(0)
    assert temperature.get_payload() == {"nvme@0000:55:00.0/Composite": 40.0}


def sata_disks(tree: FakeSys) -> None:
    for number, (ata, port) in enumerate(((7, "1"), (8, "2"))):
        tree.add(number, ATA.format(ata, ata - 1), "drivetemp", one(30 + number))
        place = tree.root / "devices/pci0000:00/0000:00:17.0" / f"ata{ata}" / "ata_port" / f"ata{ata}"
        place.mkdir(parents=True)
        (place / "port_no").write_text(f"{port}\n")


def sas_disks(tree: FakeSys) -> None:
    for number, name in enumerate(("a1", "b2")):
        host = "pci0000:00/0000:03:00.0/host4"
        end = f"{host}/port-4:{number}/end_device-4:{number}"
        tree.add(number, f"{end}/target4:0:{number}/4:0:{number}:0", "drivetemp", one(30 + number))
        place = tree.root / "devices" / end / "sas_device" / f"end_device-4:{number}"
        place.mkdir(parents=True)
        (place / "sas_address").write_text(f"0x50{name}\n")


def raid_disks(tree: FakeSys) -> None:
    for target in (0, 1):
        path = f"pci0000:00/0000:03:00.0/host9/target9:0:{target}/9:0:{target}:0"
        tree.add(target, path, "drivetemp", one(30 + target))


def memory_modules(tree: FakeSys) -> None:
    for number, address in enumerate(("0050", "0051")):
        tree.add(number, f"pci0000:00/0000:00:1f.4/i2c-6/6-{address}", "spd5118", one(30 + number))


def two_adapters(tree: FakeSys) -> None:
    for number in (0, 1):
        path = f"pci0000:00/0000:00:14.0/i2c-{number + 9}/{number + 9}-0018"
        tree.add(number, path, "jc42", one(30 + number))


def power_supplies(tree: FakeSys) -> None:
    for number, port in enumerate(("3", "4.1")):
        path = f"pci0000:00/0000:00:14.0/usb1/1-{port}/1-{port}:1.0/0003:1B1C:1C0B.000{number}"
        tree.add(number, path, "corsairpsu", one(30 + number))


def processors(tree: FakeSys) -> None:
    for number in (0, 1):
        tree.add(number, f"platform/coretemp.{number}", "coretemp", one(30 + number, "Core 0"))


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (sata_disks, ["drivetemp@0000:00:17.0-ata1", "drivetemp@0000:00:17.0-ata2"]),
        (sas_disks, ["drivetemp@0000:03:00.0-sas0x50a1", "drivetemp@0000:03:00.0-sas0x50b2"]),
        (raid_disks, ["drivetemp@0000:03:00.0", "drivetemp@0000:03:00.0-0:1:0"]),
        (memory_modules, ["spd5118@0000:00:1f.4-0050", "spd5118@0000:00:1f.4-0051"]),
        (two_adapters, ["jc42@0000:00:14.0-0018", "jc42@0000:00:14.0-i2c1-0018"]),
        (power_supplies, ["corsairpsu@0000:00:14.0-usb3", "corsairpsu@0000:00:14.0-usb4.1"]),
        (processors, ["coretemp@0/Core 0", "coretemp@1/Core 0"]),
    ],
)
def test_addresses(
    temperature: ModuleType, tree: FakeSys, build: Callable[[FakeSys], None], expected: list[str]
) -> None:
    build(tree)
    assert temperature.get_payload() == {key: 30.0 + number for number, key in enumerate(expected)}


def test_an_unreadable_sensor_does_not_change_the_keys_of_others(
    temperature: ModuleType, tree: FakeSys, caplog: pytest.LogCaptureFixture
) -> None:
    place = tree.add(0, "platform/nct6775.656", "nct6775", {"temp1_input": "30000", "temp2_input": "31000"})
    (place / "temp1_input").unlink()
    (place / "temp1_input").mkdir()  # reading it is an OSError, also for root
    assert temperature.get_payload() == {"nct6775 #2": 31.0}
    (line,) = caplog.messages
    assert line.startswith("Temperature: nct6775: cannot be read, IsADirectoryError: ")


def test_files_of_old_kernels_are_found_once(temperature: ModuleType, tree: FakeSys) -> None:
    tree.add(0, "platform/it87.656", "it8718", one(33), old=True)
    tree.add(1, "platform/coretemp.0", "coretemp", one(44, "Core 0"))
    (tree.root / "class" / "hwmon" / "hwmon1").unlink()  # in devices/ only
    assert temperature.get_payload() == {"it8718": 33.0, "coretemp/Core 0": 44.0}


@pytest.mark.parametrize(
    ("label", "key"),
    [
        (b"Temp \xb0C", "chip/Temp \ufffdC"),
        (b"a\x1b[2Jb\n", "chip/a\ufffd[2Jb"),
        ("ядро 1", "chip/ядро 1"),
        ("x" * 300, "chip/" + "x" * 55),
        ("ф" * 300, "chip/" + "ф" * 19),
        ("😀" * 300, "chip/" + "😀" * 9),
    ],
)
def test_labels_become_keys_that_fit(
    temperature: ModuleType, tree: FakeSys, label: str | bytes, key: str
) -> None:
    tree.add(0, "platform/chip", "chip", {"temp1_input": "-12345", "temp1_label": label})
    assert temperature.get_payload() == {key: -12.345}
    longest = {"plugin": "Temperature", "key": f"{key} #100", "value": -12.345678901234567}
    assert len(json.dumps(longest)) <= 214


def test_labels_that_are_equal_after_their_cut_are_numbered(temperature: ModuleType, tree: FakeSys) -> None:
    files: dict[str, str | bytes] = {}
    for number in (1, 2, 3):
        files |= {f"temp{number}_input": f"3{number}000", f"temp{number}_label": "x" * 100 + str(number)}
    tree.add(0, "platform/chip", "chip", files)
    key = "chip/" + "x" * 55
    assert temperature.get_payload() == {key: 31.0, f"{key} #2": 32.0, f"{key} #3": 33.0}
