"""The table of the demo in a terminal: the addresses above it stay in view."""

import pytest
from rich.console import Console

from demo.table import Row, free_lines, visible

ANNOUNCEMENT = "\n".join(
    [
        "dashboard:      http://127.0.0.1:6066/",
        "API:            http://127.0.0.1:6066/api/v1/plugins",
        "SQLite file:    /home/somebody/sparkle/.demo/data/sparkle.sqlite3",
        "this machine:",
        f"curl 'http://127.0.0.1:6066/api/v1/plugins/PU_Workload/hosts/{'name' * 5}?window=5m'",
        "Press Ctrl-C to stop.",
    ]
)


def rows(number: int) -> list[Row]:
    return [
        (f"host-{each:03}", "Temperature", "coretemp/Package id 0", "101.5 °C", "-10.0 °C", "102.0 °C")
        for each in range(number)
    ]


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 24), (80, 50), (40, 24)])
@pytest.mark.parametrize("number", [0, 1, 41])
def test_the_table_and_what_is_above_it_fit_into_the_terminal(width: int, height: int, number: int) -> None:
    console = Console(width=width, height=height, force_terminal=True, color_system=None)
    lines = console.render_lines(
        visible(rows(number), "host-000", free_lines(ANNOUNCEMENT, console)), pad=False
    )
    texts = ["".join(segment.text for segment in line).rstrip() for line in lines]
    above = sum(-(-len(line) // width) for line in ANNOUNCEMENT.splitlines()) + 1
    assert above + len(texts) < height
    # The titles, the line below them, and the number of rows.
    shown = len(texts) - 3
    if shown < number:
        # No line is wasted.
        assert above + len(texts) == height - 1
    expected = f"the last 5m: {shown} of {number} rows"
    if shown < number:
        expected += f"; {number - shown} do not fit into the terminal"
    assert texts[-1][: width - 1] == expected[: width - 1]


def test_all_columns_fit_into_80_characters() -> None:
    console = Console(width=80, height=24, force_terminal=True, color_system=None)
    lines = console.render_lines(visible(rows(3), "host-000", 20), pad=False)
    text = "\n".join("".join(segment.text for segment in line) for line in lines)
    for cell in rows(1)[0]:
        assert cell in text
    assert "…" not in text
