"""/metrics/hosts: the last values of this worker's hosts, for Prometheus. Only changed hosts are formatted again."""

import re
import zlib
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

import msgspec
from aiohttp import web

from sparkle_app.aggregate.windows import window_bounds
from sparkle_app.model.buckets import Statistics
from sparkle_app.model.time import span
from sparkle_app.plugin.discovery import InstalledPlugin
from sparkle_app.web.parts import WebParts
from sparkle_app.web.problems import current_time
from sparkle_app.web.snapshots.local import LocalView

PATH = "/metrics/hosts"
MAX_AGE_SECONDS = 300
"""An older value is left out: to Prometheus, the series ends."""
_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SUFFIXES = {
    "temperature": "celsius", "ratio": "ratio", "frequency": "hertz", "power": "watts", "energy": "joules",
    "voltage": "volts", "current": "amperes", "bytes": "bytes", "duration": "seconds",
}  # fmt: skip
"""Base units by quantity, as Prometheus names them."""
_UNITS = {"°C": "celsius", "Hz": "hertz", "W": "watts", "J": "joules", "V": "volts", "A": "amperes", "B": "bytes",
          "bytes": "bytes", "s": "seconds"}  # fmt: skip


class _Values(msgspec.Struct, frozen=True, gc=False):
    """The samples of one host."""

    oldest: int
    """Event time of the oldest one, microseconds since the epoch."""
    text: bytes
    """All of them."""
    samples: list[tuple[int, bytes]]
    """Event time and text of each."""


class HostMetrics:
    """Formats the last values of hosts."""

    def __init__(self, parts: WebParts) -> None:
        self._parts = parts
        self._names = metric_names(parts.plugins)
        self._views = {
            name: LocalView(parts, name, partial(_values, self._names[name], scale_of(plugin)))
            for name, plugin in parts.plugins.items()
        }

    async def text(self) -> bytes:
        """The whole response.

        Raises:
            Problem: 503, when partitions are reassigned meanwhile, or the time is not known.
        """
        now = current_time(self._parts.clock)
        oldest = now - span(MAX_AGE_SECONDS)
        start, end = window_bounds(now, MAX_AGE_SECONDS, self._parts.settings.aggregates.bucket_seconds)
        pieces = []
        for name, view in self._views.items():
            await view.update(start, end)
            pieces.append(_header(self._names[name], name, self._parts.plugins[name].plugin.unit))
            async with self._parts.slices.computation() as computation:
                for values in list(view.values.values()):
                    if values.oldest >= oldest:
                        pieces.append(values.text)
                    else:
                        pieces += [text for at, text in values.samples if at >= oldest]
                    await computation.pause()
        return b"".join(pieces)


def host_metrics_endpoint(parts: WebParts) -> Callable[[web.Request], Awaitable[web.Response]]:
    """The endpoint at :data:`PATH`."""
    metrics = HostMetrics(parts)

    async def endpoint(_request: web.Request) -> web.Response:
        return web.Response(body=await metrics.text(), headers={"Content-Type": _CONTENT_TYPE})

    return endpoint


def metric_names(plugins: Mapping[str, InstalledPlugin]) -> dict[str, str]:
    """The name of each plugin's metric: ``sparkle_temperature_celsius``."""
    names: dict[str, str] = {}
    bases: set[str] = set()
    for name, plugin in plugins.items():
        base = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
        # The suffix of one plugin may be a part of the name of another.
        if base in {"", *bases} or _with_suffix(f"sparkle_{base}", plugin) in names.values():
            base = f"{base}_{zlib.crc32(name.encode()):08x}".strip("_")
        bases.add(base)
        names[name] = _with_suffix(f"sparkle_{base}", plugin)
    return names


def scale_of(plugin: InstalledPlugin) -> float:
    """What values are multiplied by: ratios are from 0 to 1 in Prometheus."""
    return 0.01 if plugin.panel.quantity == "ratio" and plugin.plugin.unit == "%" else 1.0


def _with_suffix(name: str, plugin: InstalledPlugin) -> str:
    suffix = _SUFFIXES.get(plugin.panel.quantity, "")
    unit = _UNITS.get(plugin.plugin.unit)
    # A plugin may measure in another unit than Prometheus' base unit: its name must not say otherwise.
    if suffix and suffix != "ratio" and unit != suffix:
        suffix = ""
    return f"{name}_{suffix}" if suffix and not name.endswith(f"_{suffix}") else name


def _header(metric: str, plugin: str, unit: str) -> bytes:
    text = f"Last value of {plugin}" + (f", in {unit}" if unit and not metric.endswith("_ratio") else "")
    return f"# HELP {metric} {_escaped(text)}\n# TYPE {metric} gauge\n".encode()


def _values(metric: str, scale: float, hostname: str, metrics: dict[str, Statistics]) -> _Values:
    host = _label(hostname)
    samples = [
        (each.last_at, f'{metric}{{host="{host}",metric="{_label(name)}"}} {each.last * scale!r}\n'.encode())
        for name, each in sorted(metrics.items())
    ]
    return _Values(min(at for at, _ in samples), b"".join(text for _, text in samples), samples)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _label(text: str) -> str:
    return _escaped(text).replace('"', '\\"')
