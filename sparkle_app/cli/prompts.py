"""Asking a person at a terminal for a config."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from sparkle_app.collector_config.making import ARCHIVE, MAX_CONFIG_ID, is_address
from sparkle_app.plugin.manifest import Manifest

T = TypeVar("T")
Messages = dict[str, str]


@dataclass
class ConfigRequest:
    """What a config is to be like."""

    plugins: list[Manifest]
    address: str
    port: int
    interval: int
    config_id: int
    output: Path


class InvalidAnswerError(ValueError):
    """An answer that is none; the text says what was expected."""


def ask(request: ConfigRequest, installed: Sequence[Manifest], certs: Path, texts: Messages) -> ConfigRequest:
    """Ask for each wish, with the present one as default; ``certs`` has the keys whose ids are taken."""
    print(list_plugins(installed, texts))
    everything = ",".join(plugin.name for plugin in request.plugins)
    return ConfigRequest(
        plugins=_question(texts["choose"], everything, lambda text: choose(text, installed, texts)),
        address=_question(texts["address"], request.address, lambda text: _address(text, texts)),
        port=_question(texts["port"], str(request.port), lambda text: _number(text, texts, 1, 65535)),
        interval=_question(texts["interval"], str(request.interval), lambda text: _number(text, texts, 1)),
        config_id=_question(texts["id"], str(request.config_id), lambda text: _id(text, certs, texts)),
        output=_question(texts["output"], str(request.output), lambda text: _output(text, texts)),
    )


def agreed(texts: Messages) -> bool:
    """Ask whether to go on."""

    def answer(text: str) -> bool:
        word = text.casefold()
        if word in texts["yes"].split():
            return True
        if word in texts["no"].split():
            return False
        raise InvalidAnswerError(texts["answer"].format(found=text))

    return _question(texts["sure"], texts["yes"].split()[0], answer)


def choose(text: str, installed: Sequence[Manifest], texts: Messages) -> list[Manifest]:
    """Plugins by number (from 1) or name, separated by commas, each once.

    Raises:
        InvalidAnswerError: naming the one that is not there, or when there is none at all.
    """
    chosen: list[Manifest] = []
    names = ", ".join(plugin.name for plugin in installed)
    known = {plugin.name.casefold(): plugin for plugin in installed}
    known |= {str(number): plugin for number, plugin in enumerate(installed, 1)}
    for part in filter(None, (part.strip() for part in text.split(","))):
        plugin = known.get(part.casefold())
        if plugin is None:
            raise InvalidAnswerError(texts["unknown"].format(found=part, known=names))
        if plugin not in chosen:
            chosen.append(plugin)
    if not chosen:
        raise InvalidAnswerError(texts["unknown"].format(found=text, known=names))
    return chosen


def list_plugins(installed: Sequence[Manifest], texts: Messages) -> str:
    """A line for each plugin."""
    lines = [f"  {n}. {each.name} {each.version}  {each.description}" for n, each in enumerate(installed, 1)]
    return "\n".join([texts["plugins"], *lines])


def summary(request: ConfigRequest, key: Path, bits: int, texts: Messages) -> str:
    """What will be written."""
    archive = texts["archive"].format(
        path=request.output / ARCHIVE,
        plugins=", ".join(plugin.name for plugin in request.plugins),
        interval=request.interval,
        address=request.address,
        port=request.port,
    )
    return "\n".join([texts["summary"], archive, texts["key"].format(path=key, bits=bits)])


def _question(text: str, default: str, understand: Callable[[str], T]) -> T:
    while True:
        answer = input(text.format(default=default)).strip() or default
        try:
            return understand(answer)
        except InvalidAnswerError as fault:
            print(fault)


def _number(text: str, texts: Messages, min_: int = 0, max_: int = MAX_CONFIG_ID) -> int:
    if not re.fullmatch(r"[0-9]{1,10}", text) or not min_ <= int(text) <= max_:
        raise InvalidAnswerError(texts["number"].format(found=text, min=min_, max=max_))
    return int(text)


def _id(text: str, certs: Path, texts: Messages) -> int:
    number = _number(text, texts)
    if (certs / f"rsa_key_{number}").exists():
        raise InvalidAnswerError(texts["used"].format(path=certs / f"rsa_key_{number}"))
    return number


def _address(text: str, texts: Messages) -> str:
    if not is_address(text):
        raise InvalidAnswerError(texts["no_address"].format(found=text))
    return text


def _output(text: str, texts: Messages) -> Path:
    if (Path(text) / ARCHIVE).exists():
        raise InvalidAnswerError(texts["taken"].format(path=Path(text) / ARCHIVE))
    return Path(text)
