"""A new config: its key pair and its archive, both or neither."""

import io
import ipaddress
import os
import re
import signal
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from Crypto.PublicKey import RSA

from sparkle_app.collector_config.archive import write_archive
from sparkle_app.model.errors import ConfigurationError
from sparkle_app.plugin.manifest import Manifest

ARCHIVE = "config.tar.xz"
KEY_BITS = (2048, 3072, 4096)
MAX_CONFIG_ID = 2**31 - 1
_DRAFT_SECONDS = 3600


class InvalidOptionError(ConfigurationError):
    """What was asked for can be nowhere."""


@dataclass(frozen=True)
class MadeConfig:
    """What was made."""

    config_id: int
    archive: Path
    """For the collector's folder."""
    key: Path
    """The private key, which stays."""


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
) -> MadeConfig:
    """Make a key pair and the archive for the collectors that are to use it.

    Arguments:
        plugins: what the collectors are to collect.
        address: the broker's address, as the hosts see it.
        port: the broker's port.
        interval: seconds between two collections.
        output: folder for config.tar.xz.
        certs: folder for the private key rsa_key_<id>.
        config_id: unique; a free one if left out.
        bits: length of the RSA key.

    Raises:
        InvalidOptionError: when an argument is out of bounds.
        ConfigurationError: when something else cannot be as asked; then neither the key nor the archive was made.
    """
    _check(plugins, address, port, interval, config_id, bits)
    with _folders({output: 0o777, certs: 0o700}):
        _remove_old_drafts(certs)
        pair = RSA.generate(bits)
        while True:
            chosen = free_id(certs) if config_id is None else config_id
            made = MadeConfig(chosen, output / ARCHIVE, certs / f"rsa_key_{chosen}")
            config = {
                "id": chosen,
                "mq_server_address": address,
                "mq_server_port": port,
                "send_data_interval": interval,
                "also_store_local": True,
                "required_plugins": [plugin.name for plugin in plugins],
            }
            packed = io.BytesIO()
            write_archive(packed, config, pair.public_key().export_key(), plugins)
            with (
                _draft(made.key, 0o600, pair.export_key()) as key,
                _draft(made.archive, 0o644, packed.getvalue()) as archive,
            ):
                if _publish(made, key, archive):
                    return made
            # Somebody took the free id in the meantime: take the next. One that was asked for is not ours to change.
            if config_id is not None:
                raise ConfigurationError(
                    str(made.key),
                    expected="no key of that id yet",
                    found="one, which is never overwritten",
                    hint="choose another id",
                )


def free_id(certs: Path) -> int:
    """The id after the highest that a private key in ``certs`` has."""
    names = [re.fullmatch(r"rsa_key_(\d+)", path.name) for path in certs.glob("rsa_key_*")]
    return max((int(match[1]) for match in names if match), default=0) + 1


def is_address(text: str) -> bool:
    """Whether a text is a host's name or an IP address, and nothing besides (no scheme, no port)."""
    try:
        ipaddress.ip_address(text)
        return True
    except ValueError:
        # What looks like an IPv4 address and is none is no name either.
        name = r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)"
        return bool(re.fullmatch(rf"{name}(\.{name})*\.?", text)) and not re.fullmatch(r"[0-9.]+", text)


def _check(
    plugins: Sequence[Manifest], address: str, port: int, interval: int, config_id: int | None, bits: int
) -> None:
    rules = [
        ("plugins", bool(plugins), "at least one plugin", "none"),
        ("address", is_address(address), "a name or address without a port", repr(address)),
        ("port", 1 <= port <= 65535, "1 to 65535", port),
        ("interval", interval >= 1, "1 second or more", interval),
        ("id", config_id is None or 0 <= config_id <= MAX_CONFIG_ID, f"0 to {MAX_CONFIG_ID}", config_id),
        ("bits", bits in KEY_BITS, f"one of {', '.join(map(str, KEY_BITS))}", bits),
    ]
    for name, right, expected, found in rules:
        if not right:
            raise InvalidOptionError(name, expected=expected, found=str(found), hint="nothing was written")


@contextmanager
def _folders(modes: dict[Path, int]) -> Iterator[None]:
    """Folders to write to, made where they are not there; those that were made for nothing are removed again."""
    made: list[Path] = []
    try:
        for folder, mode in modes.items():
            made += [each for each in (folder, *folder.parents) if not each.exists()]
            folder.mkdir(parents=True, exist_ok=True, mode=mode)
        yield
    except BaseException as error:
        for each in sorted(made, key=lambda path: len(path.parts), reverse=True):
            # Somebody else may have put something there.
            with suppress(OSError):
                each.rmdir()
        if not isinstance(error, OSError):
            raise
        raise ConfigurationError(
            str(error.filename or folder), expected="a folder to write to", found=error.strerror or str(error),
            hint="choose another, or change its permissions",
        ) from error  # fmt: skip


@contextmanager
def _draft(path: Path, mode: int, content: bytes) -> Iterator[Path]:
    """A file beside ``path``, whole and on the disk, for as long as the context lasts."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, mode)
        yield Path(name)
    finally:
        os.unlink(name)


def _publish(made: MadeConfig, key: Path, archive: Path) -> bool:
    """Give both drafts their names, with nothing slow in between; False where the key's name is taken.

    Links and not renames, which would overwrite. The key comes first: an archive without its key would be
    readings that nobody can ever read.
    """
    with _no_signals():
        try:
            os.link(key, made.key)
        except FileExistsError:
            return False
        try:
            os.link(archive, made.archive)
        except OSError as error:
            # A key without an archive is of no use to anybody, and would take up its id.
            made.key.unlink()
            if not isinstance(error, FileExistsError):
                raise
            raise ConfigurationError(
                str(made.archive),
                expected="no archive yet",
                found="one",
                hint="move it, or choose another output folder",
            ) from error
    return True


@contextmanager
def _no_signals() -> Iterator[None]:
    """Ctrl-C and the like wait; a kill -9 between two links leaves a key that nothing was encrypted for."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _remove_old_drafts(folder: Path) -> None:
    """What a kill left: whole keys among them. Those of somebody who is at work now are younger."""
    for draft in folder.glob(f".rsa_key_*.{'?' * 8}"):
        with suppress(FileNotFoundError):
            if draft.stat().st_mtime < time.time() - _DRAFT_SECONDS:
                draft.unlink()
