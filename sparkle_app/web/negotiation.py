"""Content negotiation: whether a request prefers CSV to JSON, and accepts gzip (RFC 9110, 12.5.1 and 12.5.3)."""

import re
from collections.abc import Iterable

CSV = "text/csv"
JSON = "application/json"
# A media range with its parameters; a quoted string may contain commas and semicolons.
_RANGE = re.compile(r'[^,;"\s]+(?:\s*;\s*(?:[^,;"=\s]+(?:=(?:"(?:[^"\\]|\\.)*"|[^,;"\s]*))?)?)*')
_WEIGHT = re.compile(r";\s*q=([^;,\s]*)", re.IGNORECASE)
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')

_NO_GZIP = re.compile(r"gzip\s*;\s*q=0(\.0*)?\s*(,|$)", re.IGNORECASE)


def accepts_gzip(accept_encoding: str) -> bool:
    """Whether a response may be compressed with gzip.

    Arguments:
        accept_encoding: the header Accept-Encoding.
    """
    return "gzip" in accept_encoding.lower() and not _NO_GZIP.search(accept_encoding)


def prefers_csv(accept: Iterable[str]) -> bool:
    """Whether CSV is preferred; JSON is if both are equally acceptable, or neither is.

    Arguments:
        accept: the Accept headers. Of two equal weights, a range without a wildcard is preferred to one with it.
    """
    weights: dict[str, float] = {}
    for found in _RANGE.finditer(",".join(accept)):
        text = _QUOTED.sub("", found[0])
        weight = _WEIGHT.search(text)
        value = weight[1] if weight else "1"
        # A range with an invalid weight does not count.
        if re.fullmatch(r"(0(\.[0-9]{0,3})?|1(\.0{0,3})?)", value, re.ASCII):
            name = text.partition(";")[0].strip().lower()
            weights[name] = max(weights.get(name, 0.0), float(value))
    return _preference(CSV, weights) > _preference(JSON, weights)


def _preference(media_type: str, weights: dict[str, float]) -> tuple[float, int]:
    """The weight of the most specific range, and how specific it is; without an Accept header, of none."""
    ranges = (media_type, media_type.partition("/")[0] + "/*", "*/*")
    for rank, name in enumerate(ranges):
        if name in weights:
            return (weights[name], -min(rank, 1)) if weights[name] else (0.0, -2)
    return 0.0, -2
