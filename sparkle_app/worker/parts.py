"""What the agents and the web of one worker share."""

import gc
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from sqlalchemy import Engine

from sparkle_app.config.settings import Settings, database_url
from sparkle_app.envelope.keyring import Keyring
from sparkle_app.envelope.rsa import decrypt_each
from sparkle_app.envelope.rsa_multibuffer import fastest_decrypt
from sparkle_app.ingest.decryption_pool import DecryptionPool, PluginsByName
from sparkle_app.sealed.cipher import Cipher
from sparkle_app.sealed.internal_key import internal_key
from sparkle_app.storage.engine import make_engine, max_writers

# So that one slow statement does not hold up the others.
_DATABASE_THREADS = 8

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The parts of a worker that need no connection, in the order in which they are built."""

    keyring: Keyring
    """The private keys."""
    cipher: Cipher
    """Encrypts internal topics."""
    pool: DecryptionPool
    """Decrypts, for all plugin topics."""
    engine: Engine
    """The database; not connected before its first use."""
    readers: ThreadPoolExecutor
    """The threads in which HTTP requests read from the database."""
    writers: ThreadPoolExecutor
    """The threads in which the agents read from and write to the database."""


def build_parts(settings: Settings, plugins: PluginsByName) -> Parts:
    """Read the keys, fork the processes that decrypt, then make what runs in threads: never the other way round.

    Arguments:
        plugins: the server halves of the installed plugins, by NAME.

    Raises:
        ConfigurationError: when a key is missing or cannot be read, or the folder of an SQLite file cannot be made.
    """
    keyring = Keyring(settings.certs)
    cipher = Cipher(internal_key(settings.certs))
    # All that was imported stays: to look through it again and again would halt the event loop for 60 ms.
    gc.collect()
    gc.freeze()
    if settings.ingest.multibuffer:
        decrypt = fastest_decrypt()
    else:
        decrypt = decrypt_each
        logger.info("decrypting one reading at a time: ingest.multibuffer is false")
    pool = DecryptionPool(keyring, plugins, settings.ingest.processes, decrypt)
    engine = make_engine(database_url(settings))
    return Parts(
        keyring=keyring,
        cipher=cipher,
        pool=pool,
        engine=engine,
        readers=ThreadPoolExecutor(_DATABASE_THREADS, thread_name_prefix="database"),
        writers=ThreadPoolExecutor(min(_DATABASE_THREADS, max_writers(engine)), thread_name_prefix="writer"),
    )
