"""A table of readings and a table of aggregates for each plugin.

The base: tables that a version without migrations created. They are recorded as this revision, and never created by it.

readings: id, config_id, hostname, metric, value, observed_at, received_at, clock_trusted, topic, partition, offset;
primary key id, index on hostname and observed_at.

aggregates: hostname, metric, resolution, bucket_start, count, sum, minimum, maximum, last, last_at; primary key of the
first four, index on bucket_start.

Tables of hosts may exist as well.
"""

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Do nothing: an empty database gets the tables of the models, and the last revision."""
