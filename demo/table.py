"""Shows the averages of all hosts: a table that refreshes in a terminal, plain lines in a pipe."""

import http.client
import json
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from demo.processes import Child
from sparkle_app.runtime.terminal import printable

WINDOW = "5m"
REFRESH_SECONDS = 2
PIPE_SECONDS = 10
MAX_ROWS = 30
PLUGINS = ("PU_Workload", "Temperature")

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
        """One row per host and plugin: host, plugin, average, minimum, maximum, readings."""
        for plugin in PLUGINS:
            response = _get(f"{self.url}/api/v1/plugins/{plugin}/hosts?window={WINDOW}&limit={MAX_ROWS}")
            if response is None:
                continue
            for line in response.get("hosts", []):
                numbers = (
                    f"{line[name]:.1f} {response['unit']}" for name in ("average", "minimum", "maximum")
                )
                yield line["host"], plugin, *numbers, str(line["count"])


def show(averages: Averages, children: Sequence[Child]) -> None:
    """Show the averages until a child exits or the user interrupts."""
    console = Console()
    if console.is_terminal:
        with Live(console=console, auto_refresh=False) as live:
            for rows in _every(REFRESH_SECONDS, averages, children):
                live.update(_table(rows, averages.machine), refresh=True)
    else:
        for rows in _every(PIPE_SECONDS, averages, children):
            print(
                f"{time.strftime('%H:%M:%S')}, the last {WINDOW}: host, plugin, average, minimum, maximum, readings"
            )
            for row in rows:
                print("\t".join(map(printable, row)))
            sys.stdout.flush()


def _every(seconds: float, averages: Averages, children: Sequence[Child]) -> Iterator[list[Row]]:
    while True:
        for child in children:
            child.check()
        # This machine first: the other hosts are simulated.
        yield sorted(averages.rows(), key=lambda row: (row[0] != averages.machine, row))
        time.sleep(seconds)


def _table(rows: Sequence[Row], machine: str) -> Table:
    table = Table(title=f"the last {WINDOW}")
    for title in ("host", "plugin"):
        table.add_column(title)
    for title in ("average", "minimum", "maximum", "readings"):
        table.add_column(title, justify="right")
    for row in rows[:MAX_ROWS]:
        # Not as markup.
        cells = (Text(printable(each)) for each in row)
        table.add_row(*cells, style="bold" if row[0] == machine else None)
    return table


def _get(url: str) -> dict[str, Any] | None:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            answer: dict[str, Any] = json.load(response)
            return answer
    except (urllib.error.URLError, http.client.HTTPException, OSError, ValueError):
        return None
