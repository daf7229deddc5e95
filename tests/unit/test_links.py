"""Links between the project's own pages lead somewhere."""

import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
PAGES = sorted(
    path
    for folder in (".", "docs", "docs/*", "plugins/*", "certs")
    for path in PROJECT.glob(f"{folder}/*.md")
)
_LINK = re.compile(r"\]\(([^)\s]+)\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_links_lead_to_a_file_and_a_heading(page: Path) -> None:
    for link in _LINK.findall(_without_code(page)):
        if link.startswith(("https://", "http://")):
            continue
        name, _, heading = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), f"{link}: no such file"
        if heading:
            assert heading in _anchors(target), f"{link}: no such heading"


def test_every_page_can_be_reached_from_the_readme() -> None:
    start = PROJECT / "README.md"
    seen, left = {start}, [start]
    while left:
        page = left.pop()
        for link in _LINK.findall(_without_code(page)):
            target = (page.parent / link.partition("#")[0]).resolve()
            if target.suffix == ".md" and target.exists() and target not in seen:
                seen.add(target)
                left.append(target)
    docs = {page for page in PAGES if page.is_relative_to(PROJECT / "docs")}
    assert docs
    assert not docs - seen, "pages that no other page links to"


def _without_code(page: Path) -> str:
    return re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text("utf-8"), flags=re.DOTALL)


def _anchors(page: Path) -> set[str]:
    """The headings' anchors, as hosting services make them: lower case, hyphens for spaces, no punctuation."""
    text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
