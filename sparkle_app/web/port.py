"""Whether the web address can be listened on."""

import socket

from sparkle_app.model.errors import ConfigurationError


def check_port(host: str, port: int) -> None:
    """The web address can be listened on.

    Raises:
        ConfigurationError: when it cannot.
    """
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family) as probe:
            # As the web server does: a port that was left a moment ago is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise ConfigurationError(
            "web.port",
            expected=f"to listen on {host}, port {port}",
            found=error.strerror or str(error),
            hint="end what uses it, or set SPARKLE_WEB__PORT to another",
        ) from error
