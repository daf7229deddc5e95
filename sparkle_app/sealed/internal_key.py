"""The internal key, the secret for sealed messages: ``certs/internal_key``, the same for all workers."""

import logging
import os
import secrets
from pathlib import Path

from sparkle_app.model.errors import ConfigurationError

INTERNAL_KEY_FILE = "internal_key"
INTERNAL_KEY_BYTES = 32

logger = logging.getLogger(__name__)


def internal_key(folder: Path) -> bytes:
    """The internal key. The first worker to start creates it.

    Raises:
        ConfigurationError: if the file does not contain such a key, or cannot be read or created.
    """
    path = folder / INTERNAL_KEY_FILE
    try:
        if not path.exists():
            _create_internal_key(path)
        key = bytes.fromhex(path.read_text("ascii"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            str(path),
            expected="a readable key",
            found=str(error),
            hint="restore it from the backup of certs/",
        ) from error
    if len(key) != INTERNAL_KEY_BYTES:
        raise ConfigurationError(
            str(path),
            expected=f"{INTERNAL_KEY_BYTES} bytes in hexadecimal",
            found=f"{len(key)} bytes",
            hint="restore it from the backup of certs/",
        )
    return key


def _create_internal_key(path: Path) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    draft.touch(mode=0o600)
    try:
        draft.write_text(secrets.token_hex(INTERNAL_KEY_BYTES) + "\n", "ascii")
        # link() does not replace an existing file, as rename() would: if two workers start at once, one key remains.
        os.link(draft, path)
        logger.info("created %s; all workers need the same file: back it up with certs/", path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
