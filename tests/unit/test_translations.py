"""Pages in Russian have the sections, commands, names, tables and links of the English pages."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
TRANSLATIONS = {
    "README.md": "README.ru.md",
    "docs/operations.md": "docs/ru/operations.md",
    "docs/runbook.md": "docs/ru/runbook.md",
    "docs/backup.md": "docs/ru/backup.md",
    "docs/dashboard.md": "docs/ru/dashboard.md",
    "docs/retention.md": "docs/ru/retention.md",
}
_ORIGINALS = {PROJECT / translation: PROJECT / page for page, translation in TRANSLATIONS.items()}
_CODE = re.compile(r"^ *```\w*\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Section:
    """What a translation keeps of a section."""

    level: int
    """Number of # of its heading."""
    code: list[str]
    """Code blocks, without comments and labels of pictures."""
    names: set[str]
    """What is in backticks: commands, settings, metrics, paths."""
    columns: list[int]
    """Number of columns of each row of a table."""
    items: int
    """Number of items of lists."""
    links: set[Path]
    """Pages; of a translation, the original."""


@pytest.mark.parametrize(("page", "translation"), TRANSLATIONS.items())
def test_a_translation_has_the_same_contents(page: str, translation: str) -> None:
    original, translated = (list(_sections(PROJECT / each)) for each in (page, translation))
    for number, (expected, found) in enumerate(zip(original, translated, strict=False), start=1):
        assert found == expected, f"{translation}, section {number}"
    assert len(translated) == len(original)
    # Nothing would differ if nothing was found.
    assert len(original) > 5
    assert all(any(getattr(each, what) for each in original) for what in Section.__dataclass_fields__)


@pytest.mark.parametrize(("page", "translation"), TRANSLATIONS.items())
def test_a_page_and_its_translation_link_to_each_other(page: str, translation: str) -> None:
    assert PROJECT / translation in _links(PROJECT / page)
    assert PROJECT / page in _links(PROJECT / translation)


@pytest.mark.parametrize(("page", "translation"), TRANSLATIONS.items())
def test_translations_link_to_translations(page: str, translation: str) -> None:
    found = _links(PROJECT / translation) - {PROJECT / page}
    assert not found & {PROJECT / original for original in TRANSLATIONS}


def _sections(page: Path) -> Iterator[Section]:
    text = page.read_text("utf-8")
    code = _CODE.findall(text)
    # A comment in a code block is no heading.
    numbers = iter(range(len(code)))
    text = _CODE.sub(lambda _: f"\0{next(numbers)}\0", text)
    for heading, body in re.findall(r"^(#+) .+\n((?:(?!#).*\n)*)", text, re.MULTILINE):
        tables = [line for line in body.splitlines() if line.lstrip().startswith("|")]
        yield Section(
            level=len(heading),
            code=[_without_words(code[int(number)]) for number in re.findall("\0(.+)\0", body)],
            names={" ".join(name.split()) for name in re.findall(r"`([^`]+)`", body)},
            columns=[line.count("|") for line in tables],
            items=len(re.findall(r"^ *(?:\*|\d+\.) ", body, re.MULTILINE)),
            links={_ORIGINALS.get(link, link) for link in _targets(page, body)},
        )


def _without_words(code: str) -> str:
    """Only commands without their comments, or the lines of a picture without its labels."""
    if "┌" in code:
        code = re.sub(r"[^─│┌┐└┘├┤┬┴<>\n]", " ", code)
    return "\n".join(re.sub(r"( # .*)?$", "", line).rstrip() for line in code.splitlines())


def _links(page: Path) -> set[Path]:
    return _targets(page, page.read_text("utf-8"))


def _targets(page: Path, text: str) -> set[Path]:
    links = re.findall(r"\]\((?!\w+://)([^)\s#]*)[^)\s]*\)", text)
    return {(page.parent / link).resolve() if link else page for link in links}
