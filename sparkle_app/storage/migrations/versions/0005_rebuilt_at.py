"""When aggregates were last rebuilt.

The table ``sparkle_retention`` gets a column for what ``merged_until`` of readings has shown by a number.
"""

from alembic import op
from sqlalchemy import BigInteger, Column, column, inspect, table, text, update

from sparkle_app.storage.migrations.roles import EXISTING

revision = "0005"
down_revision = "0004"

_TABLE = "sparkle_retention"
_COLUMN = "rebuilt_at"


def upgrade() -> None:
    """Add the column, unless 0003 has just created the table with it, and move the number there."""
    context = op.get_context()
    if not any(each.name == _TABLE for each in context.opts[EXISTING]):
        return
    # A database without transactional DDL does not roll back an attempt.
    if context.as_sql or not any(
        each["name"] == _COLUMN for each in inspect(op.get_bind()).get_columns(_TABLE)
    ):
        op.add_column(_TABLE, Column(_COLUMN, BigInteger, nullable=False, server_default=text("0")))
    marks = table(_TABLE, column("resolution"), column("merged_until"), column(_COLUMN))
    # In this order: MySQL assigns one after the other.
    moved = [(marks.c.rebuilt_at, marks.c.merged_until), (marks.c.merged_until, text("0"))]
    of_readings = (marks.c.resolution == text("0"), marks.c.merged_until > text("0"))
    op.execute(update(marks).where(*of_readings).ordered_values(*moved))
