"""The private keys, one for each config id."""

import logging
import re
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from sparkle_app.model.errors import ConfigurationError, InvalidRecordError, Reason

_KEY_FILE = re.compile(r"rsa_key_(\d+)")
_Stamp = tuple[int, int, int]
"""Identifies the content of a file and who may read it: inode, time of the last change of either, size."""

logger = logging.getLogger(__name__)


class Keyring:
    """The private keys in ``certs/rsa_key_<id>`` (PEM).

    They are loaded once. A key that is added or replaced later is loaded when a record needs it.

    Raises:
        ConfigurationError: if there is no key in the folder, or the folder or a key cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._keys: dict[int, RSAPrivateKey] = {}
        self._stamps: dict[int, _Stamp | None] = {}
        for config_id, path in key_files(folder):
            self._stamps[config_id] = _stamp(path)
            self._keys[config_id] = _load(path)
        if not self._keys:
            raise ConfigurationError(
                str(folder),
                expected="private keys named rsa_key_<id>",
                found="none",
                hint="create a config with `faust -A sparkle_app gen-config`, or copy the keys to this folder",
            )

    def __len__(self) -> int:
        return len(self._keys)

    def name(self, config_id: int) -> str:
        """Folder and file of a private key, for errors."""
        return f"{self._folder.name}/rsa_key_{config_id}"

    def private_key(self, config_id: int) -> RSAPrivateKey:
        """The private key of a config id.

        Raises:
            InvalidRecordError: with the reason unknown_config, if there is none.
        """
        key = self._keys.get(config_id)
        if key is None and self.reload(config_id):
            key = self._keys[config_id]
        if key is None:
            exists = _stamp(self._folder / f"rsa_key_{config_id}") is not None
            problem = "cannot be used; the log says why" if exists else "does not exist"
            detail = f"{self.name(config_id)} {problem}"
            raise InvalidRecordError(Reason.UNKNOWN_CONFIG, detail)
        return key

    def reload(self, config_id: int) -> bool:
        """Load a key again if its file has changed since it was last read. A damaged file is logged once.

        Returns:
            Whether there is another key now.
        """
        path = self._folder / f"rsa_key_{config_id}"
        stamp = _stamp(path)
        if stamp is None or stamp == self._stamps.get(config_id):
            return False
        self._stamps[config_id] = stamp
        try:
            self._keys[config_id] = _load(path)
        except ConfigurationError as error:
            logger.error("%s", error)
            return False
        return True


def _stamp(path: Path) -> _Stamp | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_ctime_ns, found.st_size


def key_files(folder: Path) -> list[tuple[int, Path]]:
    """Config ids and files of the private keys in a folder, in this order; none if there is no such folder.

    Raises:
        ConfigurationError: if the folder cannot be read.
    """
    try:
        files = list(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise ConfigurationError(
            str(folder),
            expected="a readable folder of private keys",
            found=error.strerror or str(error),
            hint="make it readable for the user of the worker",
        ) from error
    return sorted((int(match[1]), path) for path in files if (match := _KEY_FILE.fullmatch(path.name)))


def _load(path: Path) -> RSAPrivateKey:
    try:
        # Validation includes primality tests of 10 to 30 ms per key. A damaged file fails to parse even without it.
        key = load_pem_private_key(path.read_bytes(), password=None, unsafe_skip_rsa_key_validation=True)
    except (OSError, ValueError, TypeError) as error:
        refused = isinstance(error, PermissionError)
        found = error.strerror if isinstance(error, OSError) else "other content"
        raise ConfigurationError(
            str(path),
            expected="an RSA private key in PEM",
            found=str(found),
            hint="make it readable for the user of the worker"
            if refused
            else "restore it from the backup of certs/",
        ) from error
    if not isinstance(key, RSAPrivateKey):
        raise ConfigurationError(
            str(path),
            expected="an RSA private key",
            found=type(key).__name__,
            hint="restore it from the backup of certs/",
        )
    return key
