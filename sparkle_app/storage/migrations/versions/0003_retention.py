"""Watermarks of retention.

The table ``sparkle_retention`` is created. Nothing is deleted before a worker runs.
"""

from alembic import op
from sqlalchemy import BigInteger, Column, Integer, String, text

from sparkle_app.storage.migrations.roles import EXISTING

revision = "0003"
down_revision = "0002"

_TABLE = "sparkle_retention"
_MARKS = ("complete_since", "kept_since", "deleted_until", "merging_until", "merged_until")


def upgrade() -> None:
    """Create the table, unless an attempt has done so that a database without transactional DDL did not roll back."""
    if any(each.name == _TABLE for each in op.get_context().opts[EXISTING]):
        return
    op.create_table(
        _TABLE,
        Column("plugin", String(255), primary_key=True),
        Column("resolution", Integer, primary_key=True, autoincrement=False),
        *(Column(name, BigInteger, nullable=False) for name in _MARKS),
        # 0005 adds it to tables that exist; which ones do is not known when statements are printed only.
        Column("rebuilt_at", BigInteger, nullable=False, server_default=text("0")),
    )
