"""The parts that the agents and the web server of a worker share."""

import gc
import logging
import ssl
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from sqlalchemy import Engine

from sparkle_app.config.settings import Settings, database_url
from sparkle_app.dead_letters.publisher import DeadLetterPublisher
from sparkle_app.envelope.keyring import Keyring
from sparkle_app.envelope.rsa import decrypt_each
from sparkle_app.envelope.rsa_multibuffer import fastest_decrypt
from sparkle_app.ingest.decryption_pool import DecryptionPool, PluginsByName
from sparkle_app.ingest.host_recorder import HostRecorder
from sparkle_app.kafka.topic_configs import TopicState
from sparkle_app.sealed.cipher import Cipher
from sparkle_app.sealed.internal_key import existing_internal_key
from sparkle_app.storage.engine import make_engine, max_writers
from sparkle_app.web.health import HealthChecker
from sparkle_app.web.parts import QUERY_THREADS
from sparkle_app.web.tls import Certificate, server_context

# Several, so that one slow statement does not block the others.
_WRITERS = 8
# Besides the queries there is a thread for a recount and one for the host watch: neither waits for them.
_READERS = QUERY_THREADS + 2
CONNECTIONS = _WRITERS + _READERS + 1
"""To the database, at most: one for each thread that uses it, with that of the health checker."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The parts of a worker that need no connection, in the order in which they are built."""

    keyring: Keyring
    """The private keys."""
    pool: DecryptionPool
    """The processes that decrypt the records of all plugin topics."""
    engine: Engine
    """The database; connects on first use."""
    readers: ThreadPoolExecutor
    """Threads in which HTTP requests read from the database."""
    writers: ThreadPoolExecutor
    """Threads in which agents read from and write to the database."""
    tls: ssl.SSLContext | None
    """The certificate of the web server; None: plain HTTP."""


@dataclass(frozen=True, kw_only=True)
class Connected:
    """What a worker builds once it is connected to the database and the broker."""

    cipher: Cipher
    """Encrypts and decrypts sealed messages."""
    topics: TopicState
    """The configuration of the topics."""
    dead_letters: DeadLetterPublisher
    """One for all topics."""
    hosts: HostRecorder
    """Records when hosts sent readings."""
    health: HealthChecker
    """Says whether the worker is ready."""
    certificate: Certificate | None
    """Renews the certificate of the web server; None: plain HTTP."""


def build_parts(settings: Settings, plugins: PluginsByName) -> Parts:
    """Load the keys, fork the decryption pool, then create the threads: forking is not safe once threads run.

    Arguments:
        plugins: the server halves of the installed plugins, by NAME.

    Raises:
        ConfigurationError: if a key or certificate is missing or cannot be read, or the folder of an SQLite file cannot
            be created.
    """
    tls = server_context(settings.web.tls)
    keyring = Keyring(settings.certs)
    # A key that cannot be used is reported before the broker is waited for. If there is none, the topics tell whether
    # it may be created.
    existing_internal_key(settings.certs)
    # Imported modules are never freed. If every full collection scanned them, it would block the event loop for 60 ms.
    gc.collect()
    gc.freeze()
    # A batch has some 25,000 objects, which need no collector. Looking at them after every 700 takes 2 µs a reading.
    gc.set_threshold(20_000)
    if settings.ingest.multibuffer:
        decrypt = fastest_decrypt()
    else:
        decrypt = decrypt_each
        logger.info("decrypting one reading at a time: ingest.multibuffer is false")
    pool = DecryptionPool(keyring, plugins, settings.ingest.processes, decrypt)
    engine = make_engine(database_url(settings), threads=CONNECTIONS)
    return Parts(
        keyring=keyring,
        pool=pool,
        engine=engine,
        readers=ThreadPoolExecutor(_READERS, thread_name_prefix="database"),
        writers=ThreadPoolExecutor(min(_WRITERS, max_writers(engine)), thread_name_prefix="writer"),
        tls=tls,
    )
