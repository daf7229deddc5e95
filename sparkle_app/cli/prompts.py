"""Asking a person at a terminal for a config."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from sparkle_app.collector_config.making import ARCHIVE, LARGEST_ID, is_address
from sparkle_app.plugin.manifest import Manifest

T = TypeVar("T")
Words = dict[str, str]


@dataclass
class Wishes:
    """What a config is to be like."""

    plugins: list[Manifest]
    address: str
    port: int
    interval: int
    config_id: int
    output: Path


class NotUnderstood(ValueError):
    """An answer that is none; the text says what was expected."""


def ask(wishes: Wishes, installed: Sequence[Manifest], certs: Path, words: Words) -> Wishes:
    """Ask for each wish, with the present one as default; ``certs`` has the keys whose ids are taken."""
    print(list_plugins(installed, words))
    everything = ",".join(plugin.name for plugin in wishes.plugins)
    return Wishes(
        plugins=_question(words["choose"], everything, lambda text: choose(text, installed, words)),
        address=_question(words["address"], wishes.address, lambda text: _address(text, words)),
        port=_question(words["port"], str(wishes.port), lambda text: _number(text, words, 1, 65535)),
        interval=_question(words["interval"], str(wishes.interval), lambda text: _number(text, words, 1)),
        config_id=_question(words["id"], str(wishes.config_id), lambda text: _id(text, certs, words)),
        output=_question(words["output"], str(wishes.output), lambda text: _output(text, words)),
    )


def agreed(words: Words) -> bool:
    """Ask whether to go on."""

    def answer(text: str) -> bool:
        word = text.casefold()
        if word in words["yes"].split():
            return True
        if word in words["no"].split():
            return False
        raise NotUnderstood(words["answer"].format(found=text))

    return _question(words["sure"], words["yes"].split()[0], answer)


def choose(text: str, installed: Sequence[Manifest], words: Words) -> list[Manifest]:
    """Plugins by number (from 1) or name, separated by commas, each once.

    Raises:
        NotUnderstood: naming the one that is not there, or when there is none at all.
    """
    chosen: list[Manifest] = []
    names = ", ".join(plugin.name for plugin in installed)
    known = {plugin.name.casefold(): plugin for plugin in installed}
    known |= {str(number): plugin for number, plugin in enumerate(installed, 1)}
    for part in filter(None, (part.strip() for part in text.split(","))):
        plugin = known.get(part.casefold())
        if plugin is None:
            raise NotUnderstood(words["unknown"].format(found=part, known=names))
        if plugin not in chosen:
            chosen.append(plugin)
    if not chosen:
        raise NotUnderstood(words["unknown"].format(found=text, known=names))
    return chosen


def list_plugins(installed: Sequence[Manifest], words: Words) -> str:
    """A line for each plugin."""
    lines = [f"  {n}. {each.name} {each.version}  {each.description}" for n, each in enumerate(installed, 1)]
    return "\n".join([words["plugins"], *lines])


def summary(wishes: Wishes, key: Path, bits: int, words: Words) -> str:
    """What will be written."""
    archive = words["archive"].format(
        path=wishes.output / ARCHIVE,
        plugins=", ".join(plugin.name for plugin in wishes.plugins),
        interval=wishes.interval,
        address=wishes.address,
        port=wishes.port,
    )
    return "\n".join([words["summary"], archive, words["key"].format(path=key, bits=bits)])


def _question(text: str, default: str, understand: Callable[[str], T]) -> T:
    while True:
        answer = input(text.format(default=default)).strip() or default
        try:
            return understand(answer)
        except NotUnderstood as fault:
            print(fault)


def _number(text: str, words: Words, least: int = 0, most: int = LARGEST_ID) -> int:
    if not re.fullmatch(r"[0-9]{1,10}", text) or not least <= int(text) <= most:
        raise NotUnderstood(words["number"].format(found=text, least=least, most=most))
    return int(text)


def _id(text: str, certs: Path, words: Words) -> int:
    number = _number(text, words)
    if (certs / f"rsa_key_{number}").exists():
        raise NotUnderstood(words["used"].format(path=certs / f"rsa_key_{number}"))
    return number


def _address(text: str, words: Words) -> str:
    if not is_address(text):
        raise NotUnderstood(words["no_address"].format(found=text))
    return text


def _output(text: str, words: Words) -> Path:
    if (Path(text) / ARCHIVE).exists():
        raise NotUnderstood(words["taken"].format(path=Path(text) / ARCHIVE))
    return Path(text)
