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
from sparkle_app.model.errors import ConfigurationError

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
    for name in ("ca_file", "cert_file", "key_file"):
        path = getattr(tls, name)
        if path and not path.is_file():
            raise ConfigurationError(
                f"broker.tls.{name}",
                expected="a PEM file",
                found=f"none at {path}",
                hint="correct the setting; paths are relative to the settings file",
            )
    try:
        context = ssl.create_default_context(cafile=tls.ca_file)
    except (ssl.SSLError, OSError) as error:
        raise _unusable("ca_file", f"PEM certificates in {tls.ca_file}", error) from error
    if tls.cert_file:
        try:
            # With an empty password OpenSSL does not prompt for one.
            context.load_cert_chain(tls.cert_file, tls.key_file, password="")
        except (ssl.SSLError, OSError) as error:
            expected = f"the unencrypted private key of {tls.cert_file} in {tls.key_file}"
            raise _unusable("key_file", expected, error) from error
    return context


def _unusable(name: str, expected: str, error: OSError) -> ConfigurationError:
    reason = getattr(error, "reason", None)
    found = reason.replace("_", " ").lower() if reason else error.strerror or str(error)
    return ConfigurationError(f"broker.tls.{name}", expected=expected, found=found, hint="correct the file")
