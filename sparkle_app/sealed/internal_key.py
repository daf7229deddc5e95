"""The key that seals internal topics and changelogs: ``certs/internal_key``, the same for all workers."""

import logging
import os
import secrets
from pathlib import Path

from sparkle_app.model.errors import ConfigurationError

INTERNAL_KEY_FILE = "internal_key"
INTERNAL_KEY_BYTES = 32

logger = logging.getLogger(__name__)


def internal_key(folder: Path) -> bytes:
    """The key that seals internal topics and changelogs; the first worker to start makes it.

    Raises:
        ConfigurationError: when the file is not such a key, or cannot be read or made.
    """
    path = folder / INTERNAL_KEY_FILE
    try:
        if not path.exists():
            _make_internal_key(path)
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
            found=f"{len(key)}",
            hint="restore it from the backup of certs/",
        )
    return key


def _make_internal_key(path: Path) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    draft.touch(mode=0o600)
    try:
        draft.write_text(secrets.token_hex(INTERNAL_KEY_BYTES) + "\n", "ascii")
        # A link, not a rename: of two workers that start together the first one's key stays.
        os.link(draft, path)
        logger.info(
            "made %s, the key of internal topics; all workers need the same one: back it up with certs/", path
        )
    except FileExistsError:
        pass
    finally:
        draft.unlink()
