"""How the values of a plugin are shown: the dict ``PANEL`` of a manifest. Data only, with a default for everything."""

import math
from typing import Annotated, Any, Literal

import msgspec

from sparkle_app.model.buckets import Statistics

Severity = Literal["warning", "critical"]
State = Literal["ok", "unknown", "warning", "critical", "silent"]
Quantity = Literal[
    "number", "temperature", "ratio", "frequency", "power", "energy", "voltage", "current", "speed", "bytes",
    "duration", "count", "state",
]  # fmt: skip
_Text = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class _Declared(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Part of a manifest: an unknown name is an error."""


class Title(_Declared, frozen=True):
    """A text in two languages."""

    en: _Text
    ru: _Text


class Headline(_Declared, frozen=True):
    """Which metric stands for a host in lists."""

    metric: _Text | None = None
    """This one, on hosts that have it."""
    statistic: Literal["maximum", "minimum"] = "maximum"
    """Otherwise the one with the highest or the lowest average."""


class Threshold(_Declared, frozen=True):
    """A bound beyond which the last value of a metric is worth attention."""

    value: float
    severity: Severity
    when: Literal["above", "below"] = "above"

    def exceeded(self, value: float) -> bool:
        """Whether a value is beyond the bound. The bound itself is not."""
        return value > self.value if self.when == "above" else value < self.value


class Chart(_Declared, frozen=True):
    """Metrics that are shown together."""

    match: _Text = "*"
    """Which: a pattern with `*` and `?`."""
    title: _Text | Title | None = None
    group_by: Annotated[int, msgspec.Meta(ge=1, le=9)] | None = None
    """One chart for each value of this part of the metric, where `/` separates the parts; null: one chart."""


class Panel(_Declared, frozen=True):
    """How the values of a plugin are shown."""

    title: _Text | Title | None = None
    """null: the plugin's name."""
    quantity: Quantity = "number"
    decimals: Annotated[int, msgspec.Meta(ge=0, le=9)] = 1
    headline: Headline = Headline()
    scale: tuple[float, float] | None = None
    """The ends of a bar; null: those of the values that are shown."""
    thresholds: tuple[Threshold, ...] = ()
    panels: tuple[Chart, ...] = (Chart(),)
    """Each metric belongs to the first that matches, if any does."""

    def state(self, value: float) -> State:
        """The most severe threshold that a value exceeds, otherwise ok."""
        exceeded = {each.severity for each in self.thresholds if each.exceeded(value)}
        return "critical" if "critical" in exceeded else "warning" if exceeded else "ok"

    def headline_of(self, metrics: dict[str, Statistics]) -> str:
        """The metric that stands for a host with these metrics."""
        name = self.headline.metric
        if name is not None and name in metrics:
            return name
        best = max if self.headline.statistic == "maximum" else min
        return best(sorted(metrics), key=lambda each: metrics[each].average)


def parse_panel(declared: Any) -> Panel:
    """The panel that a manifest declares.

    Raises:
        ValueError: its message says what was expected.
    """
    try:
        panel = msgspec.convert(declared, Panel)
        # As responses contain it.
        msgspec.json.encode(panel)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from error
    except UnicodeEncodeError as error:
        raise ValueError("a text with a lone surrogate") from error
    numbers = [*(panel.scale or ()), *(each.value for each in panel.thresholds)]
    if not all(map(math.isfinite, numbers)):
        raise ValueError("finite numbers")
    if panel.scale and panel.scale[0] >= panel.scale[1]:
        raise ValueError("'scale' as two numbers, the smaller one first")
    return panel


def with_bounds(panel: Panel, minimum: float, maximum: float) -> Panel:
    """The panel, whose default scale is between the bounds of valid values if they are finite."""
    if panel.scale or not (math.isfinite(minimum) and math.isfinite(maximum)):
        return panel
    return msgspec.structs.replace(panel, scale=(float(minimum), float(maximum)))
