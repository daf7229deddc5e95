"""Interprets docker-compose.yaml as Compose does, and derives Kafka's properties as the Kafka image does."""

import re
from collections.abc import Mapping
from typing import Any

import yaml

from tests.support.worker import PROJECT

FILE = PROJECT / "docker-compose.yaml"
# Read by scripts of the image; all other variables become properties.
_NOT_PROPERTIES = {"KAFKA_HEAP_OPTS", "KAFKA_JMX_HOSTNAME"}
_VARIABLE = re.compile(r"\$(?:(\$)|\{(\w+)(?::([-?])([^}]*))?\})")


def compose(variables: Mapping[str, str]) -> dict[str, Any]:
    """The content of the file, with ``variables`` substituted.

    Raises:
        KeyError: with the message in the file, if a required variable is missing.
    """
    content: dict[str, Any] = _substituted(yaml.safe_load(FILE.read_text()), variables)
    return content


def kafka_environment(service: str) -> dict[str, str]:
    """The environment of one of the Kafka services, with default values."""
    required = {"POSTGRES_PASSWORD": "unused", "SPARKLE_WEB__TOKEN": "unused"}
    return dict(compose(required)["services"][service]["environment"])


def kafka_properties(environment: Mapping[str, str]) -> dict[str, str]:
    """The content of server.properties: KAFKA_A_B sets a.b; ``__`` is an underscore, ``___`` a hyphen."""
    return {
        name.removeprefix("KAFKA_").lower().replace("_", ".").replace("...", "-").replace("..", "_"): value
        for name, value in environment.items()
        if name.startswith("KAFKA_") and name not in _NOT_PROPERTIES
    }


def _substituted(node: Any, variables: Mapping[str, str]) -> Any:
    if isinstance(node, dict):
        return {key: _substituted(value, variables) for key, value in node.items()}
    if isinstance(node, list):
        return [_substituted(value, variables) for value in node]
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
