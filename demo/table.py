"""Shows the averages of all hosts: a table that refreshes in a terminal, plain lines in a pipe."""

import http.client
import json
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote, urlencode

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from demo.processes import Child
from sparkle_app.runtime.terminal import printable

WINDOW = "5m"
REFRESH_SECONDS = 2
PIPE_SECONDS = 10
PLUGINS = ("PU_Workload", "Temperature")
_PAGE = 1000
_FRAME_LINES = 3
"""Titles, the line below them, and the number of rows."""

Row = tuple[str, str, str, str, str, str]


class Averages:
    """Reads averages from the worker's HTTP API.

    Arguments:
        url: the worker's web address.
        machine: the hostname of this machine.
    """

    def __init__(self, url: str, machine: str) -> None:
        self.url = url
        self.machine = machine
        self.machine_url = f"{url}/api/v1/plugins/PU_Workload/hosts/{quote(machine, safe='')}?window={WINDOW}"

    def has_this_machine(self) -> bool:
        """Whether there are averages of this machine yet."""
        return bool(_get(self.machine_url))

    def rows(self) -> Iterator[Row]:
        """One row per host and plugin, of the metric that stands for the host.

        Host, plugin, metric, average, minimum, maximum.
        """
        for plugin in PLUGINS:
            for response in self._pages(plugin):
                for line in response["hosts"]:
                    headline = line["headline"]
                    numbers = (
                        f"{headline[name]:.1f} {response['unit']}"
                        for name in ("average", "minimum", "maximum")
                    )
                    yield line["host"], plugin, headline["metric"], *numbers

    def _pages(self, plugin: str) -> Iterator[dict[str, Any]]:
        after = ""
        while after is not None:
            query = urlencode({"window": WINDOW, "limit": _PAGE, "after": after})
            response = _get(f"{self.url}/api/v1/plugins/{plugin}/hosts?{query}")
            if response is None:
                return
            yield response
            after = response["next"]


def show(averages: Averages, children: Sequence[Child], announcement: str) -> None:
    """Show the averages until a child exits or the user interrupts.

    Arguments:
        announcement: lines that remain in view.
    """
    # Printed once, by the terminal's own wrapping: a long address can be copied.
    print(f"{announcement}\n", flush=True)
    console = Console()
    if console.is_terminal:
        with Live(console=console, auto_refresh=False) as live:
            for rows in _every(REFRESH_SECONDS, averages, children):
                height = free_lines(announcement, console)
                live.update(visible(rows, averages.machine, height), refresh=True)
    else:
        for rows in _every(PIPE_SECONDS, averages, children):
            print(
                f"{time.strftime('%H:%M:%S')}, the last {WINDOW}: host, plugin, metric, average, minimum, maximum"
            )
            for row in rows:
                print("\t".join(map(printable, row)))
            sys.stdout.flush()


def free_lines(announcement: str, console: Console) -> int:
    """How many lines of the terminal are free below the announcement and an empty line."""
    taken = sum(-(-len(line) // console.width) for line in announcement.splitlines())
    # The last line is that of the cursor.
    return console.height - taken - 2


def visible(rows: Sequence[Row], machine: str, height: int) -> Group:
    """A table of as many rows as fit, and how many there are.

    Arguments:
        machine: the hostname of this machine, whose rows are bold.
        height: lines that are free.
    """
    shown = rows[: max(height - _FRAME_LINES, 1)]
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for title in ("host", "plugin", "metric"):
        table.add_column(title, no_wrap=True, overflow="ellipsis")
    for title in ("average", "minimum", "maximum"):
        table.add_column(title, justify="right", no_wrap=True)
    for row in shown:
        # Not as markup.
        cells = (Text(printable(each)) for each in row)
        table.add_row(*cells, style="bold" if row[0] == machine else None)
    number = f"the last {WINDOW}: {len(shown)} of {len(rows)} rows"
    if len(shown) < len(rows):
        number += f"; {len(rows) - len(shown)} do not fit into the terminal"
    return Group(table, Text(number, no_wrap=True, overflow="ellipsis"))


def _every(seconds: float, averages: Averages, children: Sequence[Child]) -> Iterator[list[Row]]:
    while True:
        for child in children:
            child.check()
        # This machine first: the other hosts are simulated.
        yield sorted(averages.rows(), key=lambda row: (row[0] != averages.machine, row))
        time.sleep(seconds)


def _get(url: str) -> dict[str, Any] | None:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            answer: dict[str, Any] = json.load(response)
            return answer
    except (urllib.error.URLError, http.client.HTTPException, OSError, ValueError):
        return None
