"""The error of an address that the web server cannot listen on names the setting to correct."""

import errno
import os
import socket

import pytest

from sparkle_app.model.errors import ConfigurationError
from sparkle_app.web.port import check_port
from tests.support.processes import free_port


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0"])
def test_a_free_port_is_accepted(host: str) -> None:
    check_port(host, free_port())


# An address for documentation, and a name that never exists (RFC 5737, 6761).
@pytest.mark.parametrize("host", ["203.0.113.7", "worker.invalid"])
def test_an_address_of_another_machine_is_an_error_of_the_host(host: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        check_port(host, free_port())
    assert str(caught.value).startswith(
        f"web.host: expected a name or an address of this machine, found {host}: "
    )
    assert caught.value.hint == "set it to 127.0.0.1, to 0.0.0.0 for all its addresses, or to one of them"


def test_a_port_in_use_is_an_error_of_the_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy, pytest.raises(ConfigurationError) as caught:
        check_port("127.0.0.1", busy.getsockname()[1])
    assert (caught.value.where, caught.value.found) == ("web.port", os.strerror(errno.EADDRINUSE))
    assert caught.value.hint == "stop the process that uses the port, or set web.port to another one"


def test_a_privileged_port_is_an_error_that_says_which_need_no_privileges(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Root may use every port.
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(socket.socket, "bind", refuse)
    with pytest.raises(ConfigurationError) as caught:
        check_port("127.0.0.1", 80)
    assert str(caught.value) == (
        "web.port: expected to listen on 127.0.0.1, port 80, found Permission denied; set it to a port above 1023"
    )
