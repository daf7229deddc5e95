"""docker-compose.yaml as Compose reads it, and Kafka's properties as its image makes them of the environment."""

import re
from collections.abc import Mapping
from typing import Any

import yaml

from tests.support.worker import PROJECT

FILE = PROJECT / "docker-compose.yaml"
# Programs around Kafka take these; all others become properties.
_NO_PROPERTIES = {"KAFKA_HEAP_OPTS", "KAFKA_JMX_HOSTNAME"}
_VARIABLE = re.compile(r"\$(?:(\$)|\{(\w+)(?::([-?])([^}]*))?\})")


def compose(variables: Mapping[str, str]) -> dict[str, Any]:
    """The whole file with ``variables`` put in.

    Raises:
        KeyError: with the file's own words, when a variable that it requires is not there.
    """
    filled: dict[str, Any] = _filled(yaml.safe_load(FILE.read_text()), variables)
    return filled


def kafka_environment(service: str) -> dict[str, str]:
    """The environment of one of the Kafka services, with every default."""
    required = {"POSTGRES_PASSWORD": "unused", "SPARKLE_WEB__TOKEN": "unused"}
    return dict(compose(required)["services"][service]["environment"])


def kafka_properties(environment: Mapping[str, str]) -> dict[str, str]:
    """What the image writes to server.properties: KAFKA_A_B is a.b, ``__`` an underscore and ``___`` a hyphen."""
    return {
        name.removeprefix("KAFKA_").lower().replace("_", ".").replace("...", "-").replace("..", "_"): value
        for name, value in environment.items()
        if name.startswith("KAFKA_") and name not in _NO_PROPERTIES
    }


def _filled(node: Any, variables: Mapping[str, str]) -> Any:
    if isinstance(node, dict):
        return {key: _filled(value, variables) for key, value in node.items()}
    if isinstance(node, list):
        return [_filled(value, variables) for value in node]
    if not isinstance(node, str):
        return node

    def value(match: re.Match[str]) -> str:
        dollar, name, sign, word = match.groups()
        if dollar:
            return "$"
        if variables.get(name):
            return variables[name]
        if sign == "-":
            return str(word)
        raise KeyError(f"{name}: {word or 'not set'}")

    return _VARIABLE.sub(value, node)
