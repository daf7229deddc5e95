"""The prompts of ``gen-config``, and the confirmation of other commands."""

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from sparkle_app.collector_config.creation import ARCHIVE, MAX_CONFIG_ID, is_address
from sparkle_app.plugin.manifest import Manifest

T = TypeVar("T")
Messages = dict[str, str]


@dataclass
class ConfigRequest:
    """The values of a config to create."""

    plugins: list[Manifest]
    address: str
    port: int
    interval: int
    config_id: int
    output: Path


class InvalidAnswerError(ValueError):
    """An invalid answer to a prompt; ``str()`` is the error message."""


def prompt_all(
    request: ConfigRequest, installed: Sequence[Manifest], certs: Path, texts: Messages
) -> ConfigRequest:
    """Prompt for each value, with the present one as default; ``certs`` contains the keys of the ids in use."""
    print(list_plugins(installed, texts))
    all_names = ",".join(plugin.name for plugin in request.plugins)
    return ConfigRequest(
        plugins=_prompt(
            texts["choose_plugins"], all_names, lambda text: choose_plugins(text, installed, texts)
        ),
        address=_prompt(texts["address"], request.address, lambda text: _address(text, texts)),
        port=_prompt(texts["port"], str(request.port), lambda text: _number(text, texts, 1, 65535)),
        interval=_prompt(texts["interval"], str(request.interval), lambda text: _number(text, texts, 1)),
        config_id=_prompt(texts["id"], str(request.config_id), lambda text: _id(text, certs, texts)),
        output=_prompt(texts["output"], str(request.output), lambda text: _output(text, texts)),
    )


def confirm(texts: Messages, *, default: bool = True) -> bool:
    """Ask for confirmation.

    Arguments:
        default: the answer if it is empty.
    """

    def parse(text: str) -> bool:
        word = text.casefold()
        if word in texts["yes"].split():
            return True
        if word in texts["no"].split():
            return False
        raise InvalidAnswerError(texts["invalid_answer"].format(found=text))

    return _prompt(texts["confirm"], texts["yes" if default else "no"].split()[0], parse)


def choose_plugins(text: str, installed: Sequence[Manifest], texts: Messages) -> list[Manifest]:
    """Parse a list of plugins, by number (from 1) or name, separated by commas; repetitions are ignored.

    A name may contain commas. Upper and lower case matter only if two names differ in nothing else.

    Raises:
        InvalidAnswerError: when a plugin is not installed, or the list is empty.
    """
    chosen: list[Manifest] = []
    names = ", ".join(plugin.name for plugin in installed)
    known = {plugin.name.casefold(): plugin for plugin in installed}
    known |= {plugin.name: plugin for plugin in installed}
    known |= {str(number): plugin for number, plugin in enumerate(installed, 1)}
    longest_first = sorted((re.escape(plugin.name) for plugin in installed), key=len, reverse=True)
    parts = re.findall(rf"\s*(?:{'|'.join(longest_first)})\s*(?=,|$)|[^,]+", text, re.IGNORECASE)
    for part in filter(None, map(str.strip, parts)):
        plugin = known.get(part) or known.get(part.casefold())
        if plugin is None:
            raise InvalidAnswerError(texts["unknown_plugin"].format(found=part, known=names))
        if plugin not in chosen:
            chosen.append(plugin)
    if not chosen:
        raise InvalidAnswerError(texts["unknown_plugin"].format(found=text, known=names))
    return chosen


def list_plugins(installed: Sequence[Manifest], texts: Messages) -> str:
    """The installed plugins, one line each."""
    lines = [f"  {n}. {each.name} {each.version}  {each.description}" for n, each in enumerate(installed, 1)]
    return "\n".join([texts["plugins"], *lines])


def summary(request: ConfigRequest, key: Path, bits: int, texts: Messages) -> str:
    """The files that will be written."""
    archive = texts["archive"].format(
        path=request.output / ARCHIVE,
        plugins=", ".join(plugin.name for plugin in request.plugins),
        interval=request.interval,
        address=request.address,
        port=request.port,
    )
    return "\n".join([texts["summary"], archive, texts["key"].format(path=key, bits=bits)])


def _prompt(text: str, default: str, parse: Callable[[str], T]) -> T:
    while True:
        answer = input(text.format(default=default)).strip() or default
        try:
            return parse(answer)
        except InvalidAnswerError as error:
            print(error)


def _number(text: str, texts: Messages, min_: int = 0, max_: int = MAX_CONFIG_ID) -> int:
    if not re.fullmatch(r"[0-9]{1,10}", text) or not min_ <= int(text) <= max_:
        raise InvalidAnswerError(texts["invalid_number"].format(found=text, min=min_, max=max_))
    return int(text)


def _id(text: str, certs: Path, texts: Messages) -> int:
    number = _number(text, texts)
    # Unlike Path.exists(), this raises nothing if a folder may not be read.
    if os.path.exists(certs / f"rsa_key_{number}"):
        raise InvalidAnswerError(texts["key_exists"].format(path=certs / f"rsa_key_{number}"))
    return number


def _address(text: str, texts: Messages) -> str:
    if not is_address(text):
        raise InvalidAnswerError(texts["invalid_address"].format(found=text))
    return text


def _output(text: str, texts: Messages) -> Path:
    if os.path.exists(Path(text) / ARCHIVE):
        raise InvalidAnswerError(texts["archive_exists"].format(path=Path(text) / ARCHIVE))
    return Path(text)
