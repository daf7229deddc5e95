"""How the broker is talked to: over TLS, with a login, or neither; and why it does not answer."""

import os
import ssl
from typing import Any

from aiokafka.conn import create_conn
from aiokafka.errors import KafkaError, SaslAuthenticationFailed, UnsupportedSaslMechanismError
from faust.auth import SASLCredentials, SSLCredentials
from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth

from sparkle_app.config.settings import BrokerSettings, TlsSettings
from sparkle_app.model.errors import ConfigurationError

_PROBE_SECONDS = 3


def credentials(broker: BrokerSettings) -> SSLCredentials | SASLCredentials | None:
    """What Faust needs to know of TLS and the login; None where there is neither.

    Raises:
        ConfigurationError: when a file of ``broker.tls`` cannot be used.
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
    """The same as keyword arguments for any client of aiokafka, AIOKafkaAdminClient among them.

    Raises:
        ConfigurationError: when a file of ``broker.tls`` cannot be used.
    """
    return dict(credentials_to_aiokafka_auth(credentials(broker)))


async def explain_failure(broker: BrokerSettings, error: Exception) -> str:
    """Why the broker does not answer, in the system's words where it cannot even be connected to.

    Raises:
        ConfigurationError: when it answers, and refuses the certificate or the login: waiting would not help.
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
            expected=f"a certificate of {server} that {broker.tls.ca_file or 'the system'} trusts",
            found=refused.verify_message,
            hint="name the authority that signed it, and a host that it names",
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
            expected=f"{server} to know user {broker.sasl.username} with this password",
            found=str(refused),
            hint="correct username or password, or make the user in Kafka",
        ) from refused
    except UnsupportedSaslMechanismError as refused:
        raise ConfigurationError(
            "broker.sasl.mechanism",
            expected=f"one that {server} offers",
            found=str(broker.sasl.mechanism),
            hint="see sasl.enabled.mechanisms of the broker",
        ) from refused
    except OSError as refused:
        # asyncio's own text repeats the address.
        return (
            os.strerror(refused.errno)
            if refused.errno and refused.errno > 0
            else str(refused.strerror or refused)
        )
    except KafkaError:
        return f"{server} closes the connection: not ready yet, or it wants other broker.tls or broker.sasl"
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
        raise _unusable("ca_file", f"certificates in PEM in {tls.ca_file}", error) from error
    if tls.cert_file:
        try:
            # A password of its own choice keeps OpenSSL from asking for one at the terminal.
            context.load_cert_chain(tls.cert_file, tls.key_file, password="")
        except (ssl.SSLError, OSError) as error:
            wanted = f"the unencrypted key of {tls.cert_file} in {tls.key_file}"
            raise _unusable("key_file", wanted, error) from error
    return context


def _unusable(name: str, expected: str, error: OSError) -> ConfigurationError:
    reason = getattr(error, "reason", None)
    found = reason.replace("_", " ").lower() if reason else error.strerror or str(error)
    return ConfigurationError(
        f"broker.tls.{name}", expected=expected, found=found, hint="give it the right file"
    )
