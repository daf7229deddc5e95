"""The internal key, the secret for sealed messages: ``certs/internal_key``, the same for all workers."""

import errno
import logging
import os
import secrets
import time
from pathlib import Path

from sparkle_app.model.errors import ConfigurationError
from sparkle_app.runtime.folders import publish

INTERNAL_KEY_FILE = "internal_key"
INTERNAL_KEY_BYTES = 32
# Without hard links, the file of another worker that creates it is empty for a moment.
_ATTEMPTS = 10
_ATTEMPT_SECONDS = 0.05

logger = logging.getLogger(__name__)


def internal_key(folder: Path) -> bytes:
    """The internal key; it is created if there is none.

    Raises:
        ConfigurationError: if the file does not contain such a key, or cannot be read or created.
    """
    key = existing_internal_key(folder)
    if key is None:
        path = folder / INTERNAL_KEY_FILE
        try:
            _create_internal_key(path)
        except OSError as error:
            read_only = error.errno == errno.EROFS
            raise ConfigurationError(
                str(path),
                expected="to create the key",
                found=error.strerror or str(error),
                hint=f"create it with `openssl rand -hex {INTERNAL_KEY_BYTES}` where the folder comes from"
                if read_only
                else f"make {folder} writable for the user of the worker",
            ) from error
        key = existing_internal_key(folder)
        if key is None:
            raise ConfigurationError(str(path), expected="the key", found="none", hint="restart the worker")
    return key


def existing_internal_key(folder: Path) -> bytes | None:
    """The internal key; None if there is none.

    Raises:
        ConfigurationError: if the file does not contain such a key, or cannot be read.
    """
    path = folder / INTERNAL_KEY_FILE
    try:
        for _ in range(_ATTEMPTS):
            text = path.read_text("ascii")
            if text:
                break
            time.sleep(_ATTEMPT_SECONDS)
        key = bytes.fromhex(text)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigurationError(
            str(path),
            expected="a readable key",
            found=error.strerror or str(error),
            hint="make it readable for the user of the worker",
        ) from error
    except ValueError as error:
        raise ConfigurationError(
            str(path),
            expected=f"{INTERNAL_KEY_BYTES} bytes in hexadecimal",
            found="other content",
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


def lost_internal_key(folder: Path, topic: str) -> ConfigurationError:
    """The error of a worker without the key of messages that are in a topic."""
    path = folder / INTERNAL_KEY_FILE
    return ConfigurationError(
        str(path),
        expected=f"the key of the messages in topic {topic}",
        found="none",
        hint=f"restore it with `cp -n BACKUP/{INTERNAL_KEY_FILE} {folder}/`, or copy it from another worker,"
        " or set another app_id, if these topics belong to another installation;"
        ' if it is lost, see "A new internal key" in SECURITY.md',
    )


def _create_internal_key(path: Path) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    draft.touch(mode=0o600)
    try:
        draft.write_text(secrets.token_hex(INTERNAL_KEY_BYTES) + "\n", "ascii")
        # If two workers start at once, one key remains.
        publish(draft, path)
        logger.info("created %s; all workers need the same file: back it up with certs/", path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
