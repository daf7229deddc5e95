"""Creates the files of a config, key pair and archive: both or neither."""

import io
import ipaddress
import os
import re
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from Crypto.PublicKey import RSA

from sparkle_app.collector_config.archive import write_archive
from sparkle_app.envelope.keyring import key_files
from sparkle_app.model.errors import ConfigurationError
from sparkle_app.plugin.manifest import Manifest
from sparkle_app.runtime.folders import publish

ARCHIVE = "config.tar.xz"
KEY_BITS = (2048, 3072, 4096)
MAX_CONFIG_ID = 2**31 - 1
_STALE_SECONDS = 3600


class InvalidOptionError(ConfigurationError):
    """An option has an invalid value."""


@dataclass(frozen=True)
class ConfigFiles:
    """The files of a new config."""

    config_id: int
    archive: Path
    """For the collector's folder."""
    key: Path
    """The private key, which stays on this machine."""


def make_config(
    plugins: Sequence[Manifest],
    *,
    address: str,
    port: int,
    interval: int,
    output: Path,
    certs: Path,
    config_id: int | None = None,
    bits: int = 2048,
    on_created: Callable[[ConfigFiles], object] = lambda _: None,
) -> ConfigFiles:
    """Create a key pair, and the config archive with its public key.

    Arguments:
        plugins: the plugins that the collectors run.
        address: the broker's address, as seen from the hosts.
        port: the broker's port.
        interval: seconds between two collections.
        output: folder for config.tar.xz.
        certs: folder for the private key rsa_key_<id>.
        config_id: unique; None: the next free id.
        bits: size of the RSA key.
        on_created: called with the files once both exist, before a signal can interrupt this.

    Raises:
        InvalidOptionError: when an argument is out of range.
        ConfigurationError: when a file exists or cannot be written; then no file was written.
    """
    _check(plugins, address, port, interval, config_id, bits)
    with _folders({output: 0o777, certs: 0o700}):
        _remove_stale_drafts(certs)
        pair = RSA.generate(bits)
        while True:
            number = free_id(certs) if config_id is None else config_id
            _check_id(number)
            files = ConfigFiles(number, output / ARCHIVE, certs / f"rsa_key_{number}")
            config = {
                "id": number,
                "mq_server_address": address,
                "mq_server_port": port,
                "send_data_interval": interval,
                "also_store_local": True,
                "required_plugins": [plugin.name for plugin in plugins],
            }
            content = io.BytesIO()
            write_archive(content, config, pair.public_key().export_key(), plugins)
            with (
                _draft(files.key, 0o600, pair.export_key()) as key,
                _draft(files.archive, 0o644, content.getvalue()) as archive,
            ):
                if _publish(files, key, archive, on_created):
                    return files
            # Another process has taken the free id meanwhile: try the next one. A requested id is never changed.
            if config_id is not None:
                raise ConfigurationError(
                    str(files.key),
                    expected="no key with this id",
                    found="one, which is never overwritten",
                    hint="choose another id",
                )


def free_id(certs: Path) -> int:
    """The next free config id: one more than the highest id of a private key in ``certs``.

    Raises:
        ConfigurationError: if the folder cannot be read.
    """
    return max((number for number, _ in key_files(certs)), default=0) + 1


def is_address(text: str) -> bool:
    """Whether a text is a hostname or an IP address, without scheme and port."""
    try:
        ipaddress.ip_address(text)
        return True
    except ValueError:
        # Digits and dots that are not an IPv4 address are not a hostname either.
        name = r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)"
        return bool(re.fullmatch(rf"{name}(\.{name})*\.?", text)) and not re.fullmatch(r"[0-9.]+", text)


def _check(
    plugins: Sequence[Manifest], address: str, port: int, interval: int, config_id: int | None, bits: int
) -> None:
    rules = [
        ("plugins", bool(plugins), "at least one plugin", "none"),
        ("address", is_address(address), "a hostname or IP address without a port", repr(address)),
        ("port", 1 <= port <= 65535, "1 to 65535", port),
        ("interval", interval >= 1, "1 second or more", interval),
        ("bits", bits in KEY_BITS, f"one of {', '.join(map(str, KEY_BITS))}", bits),
    ]
    for name, valid, expected, found in rules:
        if not valid:
            raise InvalidOptionError(name, expected=expected, found=str(found), hint="nothing was written")
    if config_id is not None:
        _check_id(config_id)


def _check_id(number: int) -> None:
    if not 0 <= number <= MAX_CONFIG_ID:
        # Also one more than the highest that there is.
        raise InvalidOptionError(
            "id",
            expected=f"0 to {MAX_CONFIG_ID}",
            found=str(number),
            hint="nothing was written; choose another with --id",
        )


@contextmanager
def _folders(modes: dict[Path, int]) -> Iterator[None]:
    """Create missing folders; if the context fails, remove them again."""
    created: list[Path] = []
    try:
        for folder, mode in modes.items():
            created += [each for each in (folder, *folder.parents) if not each.exists()]
            folder.mkdir(parents=True, exist_ok=True, mode=mode)
        yield
    except BaseException as error:
        for each in sorted(created, key=lambda path: len(path.parts), reverse=True):
            # Another process may have written a file there.
            with suppress(OSError):
                each.rmdir()
        if not isinstance(error, OSError):
            raise
        raise ConfigurationError(
            str(error.filename or folder), expected="a writable folder", found=error.strerror or str(error),
            hint="choose another folder, or change its permissions",
        ) from error  # fmt: skip


@contextmanager
def _draft(path: Path, mode: int, content: bytes) -> Iterator[Path]:
    """A temporary file next to ``path``, complete and flushed to disk; it is removed when the context ends."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            # A file system without modes (vfat) refuses both; mkstemp has created the file for its owner only.
            with suppress(OSError):
                os.fchmod(descriptor, mode)
                _give_to_owner(descriptor, path.parent)
        yield Path(name)
    finally:
        os.unlink(name)


def _give_to_owner(descriptor: int, folder: Path) -> None:
    """Give a file that root creates to the owner of its folder: a worker of this user has to read it."""
    if os.geteuid() == 0:
        owner = folder.stat()
        os.fchown(descriptor, owner.st_uid, owner.st_gid)


def _publish(
    files: ConfigFiles, key: Path, archive: Path, on_created: Callable[[ConfigFiles], object]
) -> bool:
    """Link both drafts to their final names, with nothing slow in between; False if the key exists.

    Unlike a rename, a link never overwrites a file. The key comes first: an archive without its key would make
    collectors send readings that cannot be decrypted.
    """
    with _signals_blocked():
        try:
            publish(key, files.key)
        except FileExistsError:
            return False
        try:
            publish(archive, files.archive)
        except OSError as error:
            # A key without an archive is useless, and would occupy its id.
            files.key.unlink()
            if not isinstance(error, FileExistsError):
                raise
            raise ConfigurationError(
                str(files.archive),
                expected="no file",
                found="one, which is never overwritten",
                hint="move it, or choose another output folder",
            ) from error
        on_created(files)
    return True


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """Delay Ctrl-C and similar signals. A SIGKILL between the two links leaves a key that nothing uses."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _remove_stale_drafts(folder: Path) -> None:
    """Remove drafts of killed processes, which may be complete private keys; those of running processes are younger."""
    for draft in folder.glob(f".rsa_key_*.{'?' * 8}"):
        with suppress(FileNotFoundError):
            if draft.stat().st_mtime < time.time() - _STALE_SECONDS:
                draft.unlink()
