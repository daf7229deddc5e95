"""A long response is the same JSON as if it were encoded at once."""

from typing import Any

import msgspec
import pytest

from sparkle_app.model.buckets import Statistics
from sparkle_app.web import encoding, slices
from sparkle_app.web.api.lines import HostsResponse, host_statistics
from sparkle_app.web.api.plugins import PluginsResponse
from sparkle_app.web.api.responses import metric
from sparkle_app.web.api.series_responses import SeriesResponse, point
from sparkle_app.web.api.window_queries import FleetResponse
from sparkle_app.web.encoding import encode
from sparkle_app.web.health import Health
from sparkle_app.web.partition_router import PartialResult
from sparkle_app.web.slices import Slices
from sparkle_app.web.snapshots.lines import Line, LinesPage

STATISTICS = Statistics(2, 5.5, 2.0, 3.5, 3.5, 1_800_000_000_000_001)


def time_range(**fields: Any) -> dict[str, Any]:
    return {"plugin": "Tëst", "unit": "°C", "host": 'a "b"', "start": "x", "end": "y", **fields}


def bodies(number: int) -> list[msgspec.Struct]:
    """One of each kind, with collections of this length."""
    points = [point(at * 60_000_000, STATISTICS) for at in range(number)]
    names = [f"core/{at}" for at in range(number)]
    window: dict[str, Any] = {"plugin": "p", "unit": "", "window_seconds": 60, "start": "x", "end": "y"}
    return [
        SeriesResponse(**time_range(), step_seconds=60, series={"a": points, "": [], "b": points[:3]}),
        SeriesResponse(**time_range(), step_seconds=60, series={name: points[:1] for name in names}),
        FleetResponse(**window, hosts=1, metrics={name: metric(STATISTICS) for name in names}),
        HostsResponse(
            **window,
            hosts=[host_statistics(name, STATISTICS, "m", STATISTICS, "ok") for name in names],
            made_at="x",
            total=number,
            next=None,
        ),
        PartialResult([1, 2], 3, True, dict.fromkeys(names, STATISTICS)),
        LinesPage([1], "a", 2, [Line(name, STATISTICS, "m", STATISTICS) for name in names], names, False),
        PluginsResponse([]),
        Health(True),
        Health(False, {"broker": "ok"}),
    ]


@pytest.mark.parametrize("number", [0, 1, 2, 3, 4, 7, 8])
async def test_the_json_is_that_of_msgspec(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    monkeypatch.setattr(encoding, "_ITEMS", 3)
    for body in bodies(number):
        assert await encode(body, Slices()) == msgspec.json.encode(body)


async def test_a_long_response_is_encoded_in_small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses = 0

    class Counting(slices.Computation):
        async def pause(self) -> None:
            nonlocal pauses
            pauses += 1

    monkeypatch.setattr(slices, "Computation", Counting)
    for body in bodies(3000):
        pauses = 0
        json = await encode(body, Slices())
        assert json == msgspec.json.encode(body)
        # No piece is much longer than 500 members.
        assert pauses >= len(json) // 200_000
        assert len(json) < 200_000 or pauses >= 6
