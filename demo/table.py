"""The averages of all hosts, asked over HTTP: a table that refreshes in a terminal, plain lines in a pipe."""

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

from demo.processes import Child

WINDOW = "5m"
REFRESH_SECONDS = 2
PIPE_SECONDS = 10
MOST_ROWS = 30
PLUGINS = ("PU_Workload", "Temperature")

Row = tuple[str, str, str, str, str, str]


class Averages:
    """What the worker answers.

    Arguments:
        url: the worker's web address.
        machine: hostname of this machine.
    """

    def __init__(self, url: str, machine: str) -> None:
        self.url = url
        self.machine = machine
        self.machine_url = f"{url}/api/v1/plugins/PU_Workload/hosts/{quote(machine, safe='')}?window={WINDOW}"

    def of_this_machine(self) -> dict[str, Any] | None:
        """This machine's load, or None while there is no answer yet."""
        return _get(self.machine_url)

    def rows(self) -> Iterator[Row]:
        """One row for each host and plugin: host, plugin, average, minimum, maximum, readings."""
        for plugin in PLUGINS:
            answer = _get(f"{self.url}/api/v1/plugins/{plugin}/hosts?window={WINDOW}&limit={MOST_ROWS}")
            for line in (answer or {}).get("hosts", []):
                numbers = (f"{line[name]:.1f} {answer['unit']}" for name in ("average", "minimum", "maximum"))
                yield line["host"], plugin, *numbers, str(line["count"])


def show(averages: Averages, children: Sequence[Child]) -> None:
    """Show the averages until a child ends or the user does."""
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
                print("\t".join(row))
            sys.stdout.flush()


def _every(seconds: float, averages: Averages, children: Sequence[Child]) -> Iterator[list[Row]]:
    while True:
        for child in children:
            child.check()
        # This machine first: it is the one that is real.
        yield sorted(averages.rows(), key=lambda row: (row[0] != averages.machine, row))
        time.sleep(seconds)


def _table(rows: Sequence[Row], machine: str) -> Table:
    table = Table(title=f"the last {WINDOW}")
    for title in ("host", "plugin"):
        table.add_column(title)
    for title in ("average", "minimum", "maximum", "readings"):
        table.add_column(title, justify="right")
    for row in rows[:MOST_ROWS]:
        table.add_row(*row, style="bold" if row[0] == machine else None)
    return table


def _get(url: str) -> dict[str, Any] | None:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return json.load(response)
    except (urllib.error.URLError, http.client.HTTPException, OSError, ValueError):
        return None
