"""The server half: bounds of valid values, and the SQL tables."""

from sparkle_app.plugin_api import AggregatesTable, Plugin, ReadingsTable


class DataFrame(ReadingsTable):
    """Stored readings."""

    __tablename__ = "temperature_readings"


class Aggregates(AggregatesTable):
    """Aggregates."""

    __tablename__ = "temperature_aggregates"


class Temperature(Plugin):
    """Temperatures of sensors and of GPUs."""

    unit = "°C"
    minimum, maximum = -100, 250
    DataFrame = DataFrame
    Aggregates = Aggregates


plugin = Temperature()
