"""docs/settings.md."""

from pathlib import Path

from sparkle_app.config.reference import render


def test_the_settings_page_is_current() -> None:
    page = Path(__file__).parents[2] / "docs" / "settings.md"
    assert page.read_text("utf-8") == render(), (
        "regenerate it: python -m sparkle_app.config.reference > docs/settings.md"
    )
