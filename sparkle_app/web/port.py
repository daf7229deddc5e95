"""Checks that the web server can listen on its address."""

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
        raise ConfigurationError(
            "web.port",
            expected=f"to listen on {host}, port {port}",
            found=error.strerror or str(error),
            hint="stop the process that uses the port, or set web.port to another one",
        ) from error
