"""Connections to Kafka: TLS, SASL and time limits, and the producer of the commands."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaProducer
from faust.auth import SASLCredentials, SSLCredentials
from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth

from sparkle_app.config.sections import BrokerSettings, TlsSettings
from sparkle_app.kafka.timeouts import limit_clients
from sparkle_app.kafka.topology import MAX_MESSAGE_BYTES
from sparkle_app.runtime.certificates import check_files, load_chain, trusting

# Here, since every client is created with arguments of this module.
limit_clients()


def credentials(broker: BrokerSettings) -> SSLCredentials | SASLCredentials | None:
    """The credentials for Faust; None without TLS and SASL.

    Raises:
        ConfigurationError: if a file of ``broker.tls`` cannot be used.
    """
    context = _context(broker.tls) if broker.tls.enabled else None
    sasl = broker.sasl
    if sasl.mechanism:
        assert sasl.password
        return SASLCredentials(
            username=sasl.username,
            password=sasl.password.get_secret_value(),
            mechanism=sasl.mechanism,
            ssl_context=context,
        )
    return SSLCredentials(context) if context else None


def security_arguments(broker: BrokerSettings) -> dict[str, Any]:
    """The credentials as keyword arguments for clients of aiokafka, including AIOKafkaAdminClient.

    Raises:
        ConfigurationError: if a file of ``broker.tls`` cannot be used.
    """
    return dict(credentials_to_aiokafka_auth(credentials(broker)))


@asynccontextmanager
async def open_producer(broker: BrokerSettings) -> AsyncIterator[AIOKafkaProducer]:
    """A producer that waits for the acknowledgement of all in-sync replicas.

    Raises:
        KafkaError: if the broker does not answer.
    """
    producer = AIOKafkaProducer(
        bootstrap_servers=broker.url,
        **security_arguments(broker),
        # Not idempotent, which a small broker may not support: what commands produce may be repeated.
        acks="all",
        max_request_size=MAX_MESSAGE_BYTES,
    )
    try:
        await producer.start()
        yield producer
    finally:
        await producer.stop()


def _context(tls: TlsSettings) -> ssl.SSLContext:
    check_files("broker.tls", tls.files)
    context = trusting("broker.tls.ca_file", tls.ca_file)
    if tls.cert_file and tls.key_file:
        load_chain(context, ("broker.tls.cert_file", "broker.tls.key_file"), tls.cert_file, tls.key_file)
    return context
