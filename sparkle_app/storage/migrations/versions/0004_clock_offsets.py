"""Offsets of clocks that are not trusted.

The table ``sparkle_hosts`` gets a column.
"""

from alembic import op
from sqlalchemy import BigInteger, Column, inspect

from sparkle_app.storage.migrations.roles import EXISTING

revision = "0004"
down_revision = "0003"

_TABLE = "sparkle_hosts"
_COLUMN = "clock_offset_seconds"


def upgrade() -> None:
    """Add the column, unless the table does not exist yet: then it is created from the models."""
    context = op.get_context()
    if not any(each.name == _TABLE for each in context.opts[EXISTING]):
        return
    # A database without transactional DDL does not roll back an attempt.
    if not context.as_sql and any(
        each["name"] == _COLUMN for each in inspect(op.get_bind()).get_columns(_TABLE)
    ):
        return
    op.add_column(_TABLE, Column(_COLUMN, BigInteger))
