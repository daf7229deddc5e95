"""A plugin that ships migrations, in two versions: the second one adds a column."""

import textwrap
from pathlib import Path

TABLES = ("fan_speed_readings_data", "fan_speed_aggregates_data")
MANIFEST = 'NAME = "Fan_Speed"\nVERSION = "1.{number}.0"\nAUTHOR = "somebody"\nTOPIC = "telemetry"\n'
SERVER = """
    from sqlalchemy import String
    from sqlalchemy.orm import Mapped, mapped_column

    from sparkle_app.plugin_api import AggregatesTable, Plugin, ReadingsTable


    class DataFrame(ReadingsTable):
        __tablename__ = "fan_speed_readings"
        {column}


    class Aggregates(AggregatesTable):
        __tablename__ = "fan_speed_aggregates"


    class FanSpeed(Plugin):
        unit = "rpm"
        DataFrame = DataFrame
        Aggregates = Aggregates


    plugin = FanSpeed()
"""
COLUMN = 'maker: Mapped[str] = mapped_column(String(20), server_default="unknown")'
ADD_COLUMN = """
    column = Column("maker", String(20), nullable=False, server_default="unknown")
    op.add_column("fan_speed_readings_data", column)
"""


def write_revision(folder: Path, number: int, upgrade: str, prefix: str = "fan_speed_") -> None:
    """Write a revision that follows the one before it."""
    folder.mkdir(exist_ok=True)
    before = f'"{prefix}{number - 1:04}"' if number > 1 else "None"
    (folder / f"{number:04}.py").write_text(
        f'"""Step {number}."""\n\nfrom alembic import op\nfrom sqlalchemy import Column, String, text\n\n'
        f'revision = "{prefix}{number:04}"\ndown_revision = {before}\n\n\n'
        f"def upgrade() -> None:\n{textwrap.indent(textwrap.dedent(upgrade).strip(), '    ')}\n"
    )


def write_plugin(plugins: Path, number: int) -> Path:
    """Write version 1 or 2 of the plugin into a plugins folder; returns the folder of its revisions."""
    folder = plugins / "fan_speed"
    folder.mkdir(exist_ok=True)
    (folder / "manifest.py").write_text(MANIFEST.format(number=number))
    (folder / "__init__.py").write_text("from .manifest import *\nfrom .server import plugin\n")
    server = textwrap.dedent(SERVER).strip().format(column=COLUMN if number > 1 else "")
    (folder / "server.py").write_text(f"{server}\n")
    write_revision(folder / "migrations", 1, "pass")
    if number > 1:
        write_revision(folder / "migrations", 2, ADD_COLUMN)
    return folder / "migrations"
