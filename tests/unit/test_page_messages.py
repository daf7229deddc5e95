"""The page's texts: the same in every language, complete, and all in use."""

import json
import re
from pathlib import Path

import pytest

from sparkle_app.model.errors import Reason
from sparkle_app.web.dashboard.assets import FOLDER

FORMS = {"en": {"one", "other"}, "ru": {"one", "few", "many", "other"}}
"""Of Intl.PluralRules."""


def messages(language: str) -> dict[str, str | dict[str, str]]:
    """The texts of a language: a module that exports JSON."""
    text = (FOLDER / "messages" / f"{language}.js").read_text("utf-8")
    found: dict[str, str | dict[str, str]] = json.loads(
        text.removeprefix("export default ").rstrip().removesuffix(";")
    )
    return found


def placeholders(text: str | dict[str, str]) -> set[str]:
    forms = [text] if isinstance(text, str) else list(text.values())
    return {name for form in forms for name in re.findall(r"{(\w+)}", form)}


def test_there_are_no_other_languages() -> None:
    assert {path.stem for path in (FOLDER / "messages").iterdir()} == set(FORMS)


@pytest.mark.parametrize("language", FORMS)
def test_a_text_has_the_same_values_and_all_plural_forms(language: str) -> None:
    english, found = messages("en"), messages(language)
    assert list(found) == sorted(english)
    for key, text in found.items():
        assert placeholders(text) == placeholders(english[key]), key
        assert isinstance(text, dict) == isinstance(english[key], dict), key
        if isinstance(text, dict):
            assert set(text) == FORMS[language], key
            assert all("{n}" in form for form in text.values()), key


def test_every_text_is_used_and_every_used_text_exists() -> None:
    scripts = [path.read_text("utf-8") for path in FOLDER.rglob("*.js") if path.parent.name != "messages"]
    used, prefixes = set(), set()
    for script in scripts:
        used.update(re.findall(r'"((?:[a-zA-Z]+\.)+[a-zA-Z]+|number)"', script))
        prefixes.update(re.findall(r"t\(`([a-zA-Z.]+\.)\$\{", script))
    keys = set(messages("en"))
    assert {key for key in keys if key not in used and not key.startswith(tuple(prefixes))} == set()
    asked = {key for script in scripts for key in re.findall(r'\bt\("([^"]+)"', script)}
    assert asked - keys == set()


def test_no_text_is_written_in_the_code() -> None:
    """Cyrillic letters occur in the messages, and in the name of the language only."""
    found: dict[str, set[str]] = {}
    for path in FOLDER.rglob("*.js"):
        if path.parent.name != "messages":
            words = set(re.findall(r"[а-яА-ЯёЁ]+", path.read_text("utf-8")))
            found |= {path.name: words} if words else {}
    assert found == {"language.js": {"Русский"}}


def test_nothing_in_the_code_parses_markup() -> None:
    for path in Path(FOLDER).rglob("*.js"):
        script = path.read_text("utf-8")
        found = re.search(
            r"\b(inner|outer)HTML|insertAdjacentHTML|document\.write|\beval\(|new Function", script
        )
        assert not found, path


def test_every_reason_is_explained() -> None:
    script = (FOLDER / "components" / "reason.js").read_text("utf-8")
    listed = re.search(r"REASONS = \[(.*?)\]", script, re.DOTALL)
    assert listed
    assert sorted(re.findall(r'"(\w+)"', listed[1])) == sorted(Reason)
    for kind in ("reason.", "reason.means.", "reason.action."):
        assert {f"{kind}{each}" for each in Reason} <= set(messages("en"))
