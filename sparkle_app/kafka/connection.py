"""Connections to Kafka: TLS, SASL, and the diagnosis of failures."""

import os
import ssl
from typing import Any

from aiokafka.conn import create_conn
from aiokafka.errors import KafkaError, SaslAuthenticationFailed, UnsupportedSaslMechanismError
from faust.auth import SASLCredentials, SSLCredentials
from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth

from sparkle_app.config.sections import BrokerSettings, TlsSettings
from sparkle_app.model.errors import ConfigurationError

_PROBE_SECONDS = 3


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


async def explain_failure(broker: BrokerSettings, error: Exception) -> str:
    """Connect to the broker once more to find out why it failed.

    Returns:
        The cause, as the operating system states it if no connection can be established.

    Raises:
        ConfigurationError: if the broker rejects the certificate or the login, so that a retry would not help.
    """
    server = broker.url.split(",", maxsplit=1)[0].strip()
    host, _, port = server.rpartition(":")
    try:
        connection = await create_conn(
            host.strip("[]"),
            int(port),
            request_timeout_ms=_PROBE_SECONDS * 1000,
            **security_arguments(broker),
        )
        connection.close()
    except TimeoutError:
        return f"no answer within {_PROBE_SECONDS} s"
    except ssl.SSLCertVerificationError as refused:
        raise ConfigurationError(
            "broker.tls.ca_file",
            expected=f"a certificate of {server} that is trusted by {broker.tls.ca_file or 'the system'}",
            found=refused.verify_message,
            hint="set ca_file to the authority that signed it, and broker.url to a host name in the certificate",
        ) from refused
    except ssl.SSLError as refused:
        raise ConfigurationError(
            "broker.tls",
            expected=f"TLS at {server}",
            found=(refused.reason or str(refused)).replace("_", " ").lower(),
            hint="correct broker.url or broker.tls",
        ) from refused
    except SaslAuthenticationFailed as refused:
        raise ConfigurationError(
            "broker.sasl",
            expected=f"{server} to authenticate user {broker.sasl.username}",
            found=str(refused),
            hint="correct the user name or the password, or create the user in Kafka",
        ) from refused
    except UnsupportedSaslMechanismError as refused:
        raise ConfigurationError(
            "broker.sasl.mechanism",
            expected=f"a mechanism that {server} supports",
            found=str(broker.sasl.mechanism),
            hint="see sasl.enabled.mechanisms of the broker",
        ) from refused
    except OSError as refused:
        # asyncio's message repeats the address.
        return (
            os.strerror(refused.errno)
            if refused.errno and refused.errno > 0
            else str(refused.strerror or refused)
        )
    except KafkaError:
        return f"{server} closes the connection: not ready yet, or broker.tls or broker.sasl does not match"
    return str(error)


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
