"""A tree as the folder /sys of Linux: devices, and the folders of class/hwmon that link to them."""

from pathlib import Path


class FakeSys:
    """The tree.

    Arguments:
        root: the folder to create it in.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._classes = root / "class" / "hwmon"
        self._classes.mkdir(parents=True)

    def add(
        self, hwmon: int, device: str, name: str | bytes, files: dict[str, str | bytes], *, old: bool = False
    ) -> Path:
        """Add a chip with its sensors.

        Arguments:
            hwmon: number of the hwmon folder.
            device: path of the device, relative to devices/.
            files: their contents by name, such as ``temp1_input``.
            old: the files are in the folder of the device, as on old kernels.

        Returns:
            the folder with the files.
        """
        target = self.root / "devices" / device
        folder = target / "hwmon" / f"hwmon{hwmon}"
        folder.mkdir(parents=True)
        (folder / "device").symlink_to(target)
        (self._classes / f"hwmon{hwmon}").symlink_to(folder)
        place = target if old else folder
        for file, content in {"name": name, **files}.items():
            (place / file).write_bytes(content.encode() if isinstance(content, str) else content)
        return place

    def remove(self, hwmon: int) -> None:
        """Remove the chip, as if its device was unplugged."""
        (self._classes / f"hwmon{hwmon}").unlink()


def one(celsius: float, label: str | None = None) -> dict[str, str | bytes]:
    """The files of one sensor."""
    files: dict[str, str | bytes] = {"temp1_input": f"{round(celsius * 1000)}\n"}
    return files if label is None else {**files, "temp1_label": f"{label}\n"}
