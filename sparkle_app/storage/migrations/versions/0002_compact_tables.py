"""Numbers in place of names.

Readings and aggregates move to tables ``<name>_data``, in which numbers stand for hostnames, metrics and topics. Views
with the names of the tables show what these contained. The names are in ``sparkle_series`` and ``sparkle_sources``.
While the rows are copied, the database needs up to one and a half times its size.
"""

from alembic import op

from sparkle_app.storage.migrations.compaction import COMPACT, compact
from sparkle_app.storage.migrations.roles import EXISTING, WIDE

revision = COMPACT
down_revision = "0001"


def upgrade() -> None:
    """Move the rows."""
    context = op.get_context()
    compact(context, context.opts[WIDE], context.opts[EXISTING])
