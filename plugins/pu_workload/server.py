"""The handler half: what a valid reading is, and the tables it is stored in."""

from sparkle_app.plugin_api import AggregatesTable, Plugin, ReadingsTable


class DataFrame(ReadingsTable):
    """Raw readings."""

    __tablename__ = "pu_workload_readings"


class Aggregates(AggregatesTable):
    """Averages and extremes of each minute."""

    __tablename__ = "pu_workload_aggregates"


class PU_Workload(Plugin):
    """The load of a host's processing units."""

    unit = "%"
    minimum, maximum = 0, 100
    DataFrame = DataFrame
    Aggregates = Aggregates


plugin = PU_Workload()
