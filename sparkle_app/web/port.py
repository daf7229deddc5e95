"""Checks that the web server can listen on its address."""

import errno
import socket

from sparkle_app.model.errors import ConfigurationError


def check_port(host: str, port: int) -> None:
    """Check that a TCP server can listen on an address.

    Raises:
        ConfigurationError: when it cannot.
    """
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family) as probe:
            # As the web server does: a port whose last connections are in TIME_WAIT is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise _problem(host, port, error) from error


def _problem(host: str, port: int, error: OSError) -> ConfigurationError:
    found = error.strerror or str(error)
    if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        return ConfigurationError(
            "web.host",
            expected="a name or an address of this machine",
            found=f"{host}: {found}",
            hint="set it to 127.0.0.1, to 0.0.0.0 for all its addresses, or to one of them",
        )
    refused = error.errno == errno.EACCES
    return ConfigurationError(
        "web.port",
        expected=f"to listen on {host}, port {port}",
        found=found,
        hint="set it to a port above 1023"
        if refused
        else "stop the process that uses the port, or set web.port to another one",
    )
