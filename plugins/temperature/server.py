"""The handler half: what a valid reading is, and the tables it is stored in."""

from sparkle_app.plugin_api import AggregatesTable, Plugin, ReadingsTable


class DataFrame(ReadingsTable):
    """Raw readings."""

    __tablename__ = "temperature_readings"


class Aggregates(AggregatesTable):
    """Averages and extremes of each minute."""

    __tablename__ = "temperature_aggregates"


class Temperature(Plugin):
    """The temperatures of a host's sensors."""

    unit = "°C"
    minimum, maximum = -100, 250
    DataFrame = DataFrame
    Aggregates = Aggregates


plugin = Temperature()
