"""Pictures of the page for the documentation, small enough for a repository."""

from io import BytesIO
from pathlib import Path

from PIL import Image
from playwright.sync_api import Locator, Page

MARGIN = 12
"""Around a part of the page, pixels."""
MAX_BYTES = 100_000


def take(shown: Page | Locator, path: Path) -> None:
    """Write a PNG with a palette of what is shown.

    Arguments:
        shown: a page, or a part of it that its window contains.

    Raises:
        AssertionError: if it is larger than a picture of the documentation may be.
    """
    if isinstance(shown, Page):
        png = shown.screenshot(animations="disabled")
    else:
        box = shown.bounding_box()
        assert box
        png = shown.page.screenshot(
            animations="disabled",
            clip={
                "x": box["x"] - MARGIN,
                "y": box["y"] - MARGIN,
                "width": box["width"] + 2 * MARGIN,
                "height": box["height"] + 2 * MARGIN,
            },
        )
    with Image.open(BytesIO(png)) as image:
        reduced = image.convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    reduced.save(path, optimize=True)
    assert path.stat().st_size <= MAX_BYTES, f"{path.name} has {path.stat().st_size:,} bytes"
