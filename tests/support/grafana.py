"""Grafana's SQL data sources: how they expand a query, as their documentation describes it."""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

_MACRO = re.compile(r"\$([_a-zA-Z0-9]+)\(([^)]*)\)")
_VARIABLE = re.compile(r"\$\{(\w+)(?::(\w+))?\}|\$(\w+)")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
Values = Mapping[str, str | Sequence[str]]


def queries(dashboard: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Where each query of a dashboard is, its format, and its text."""
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            yield f"{panel['title']} {target['refId']}", target["format"], target["rawSql"]
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            yield f"variable {variable['name']}", "variable", variable["query"]


def expand(query: str, database: str, start: datetime, end: datetime, values: Values) -> str:
    """The statement that the data source sends: variables first, as the browser does, then macros.

    Arguments:
        database: ``postgresql`` or ``mysql``.
        start: of the time range, aware.
        end: likewise.
        values: of the variables.
    """

    epochs = {"__unixEpochFrom": f"{start.timestamp():.0f}", "__unixEpochTo": f"{end.timestamp():.0f}"}

    def variable(match: re.Match[str]) -> str:
        name, form = match[1] or match[3], match[2]
        if name.startswith("__") and name != "__interval":
            return match[0]
        value = values[name]
        if form == "sqlstring":
            return ",".join(_quoted(each) for each in ([value] if isinstance(value, str) else value))
        assert form is None, form
        assert isinstance(value, str), name
        return value

    def macro(match: re.Match[str]) -> str:
        if match[1] in epochs:
            return epochs[match[1]]
        arguments = [each.strip() for each in match[2].split(",")]
        return _MACROS[database](match[1], arguments, start, end)

    return _MACRO.sub(macro, _VARIABLE.sub(variable, query))


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _seconds(interval: str) -> int:
    return int(interval[:-1]) * _UNITS[interval[-1]]


def _postgresql(name: str, arguments: Sequence[str], start: datetime, end: datetime) -> str:
    column = arguments[0]
    if name == "__timeFilter":
        return f"{column} BETWEEN '{start.isoformat()}' AND '{end.isoformat()}'"
    assert name in ("__timeGroup", "__timeGroupAlias"), name
    seconds = _seconds(arguments[1])
    group = f"floor(extract(epoch from {column})/{seconds})*{seconds}"
    return f'{group} AS "time"' if name.endswith("Alias") else group


def _mysql(name: str, arguments: Sequence[str], start: datetime, end: datetime) -> str:
    column = arguments[0]
    if name == "__timeFilter":
        times = (f"FROM_UNIXTIME({int(each.timestamp())})" for each in (start, end))
        return f"{column} BETWEEN {' AND '.join(times)}"
    assert name in ("__timeGroup", "__timeGroupAlias"), name
    seconds = _seconds(arguments[1])
    group = f"UNIX_TIMESTAMP({column}) DIV {seconds} * {seconds}"
    return f'{group} AS "time"' if name.endswith("Alias") else group


_MACROS = {"postgresql": _postgresql, "mysql": _mysql}
