"""The server half: bounds of valid values, and the SQL tables."""

from sparkle_app.plugin_api import AggregatesTable, Plugin, ReadingsTable


class DataFrame(ReadingsTable):
    """Stored readings."""

    __tablename__ = "pu_workload_readings"


class Aggregates(AggregatesTable):
    """Aggregates."""

    __tablename__ = "pu_workload_aggregates"


class PU_Workload(Plugin):
    """Load of the processor and of GPUs."""

    unit = "%"
    minimum, maximum = 0, 100
    DataFrame = DataFrame
    Aggregates = Aggregates


plugin = PU_Workload()
