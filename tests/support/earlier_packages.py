"""Plugin packages for the earlier handler, in different styles."""

from pathlib import Path

FANS = {
    "__init__.py": """
import os
from .manifest import *
if os.environ.get("SPARKLE_M_SERVER"):
    from . import server
    from .server import DataFrame
else:
    from .main import get_payload
""",
    "manifest.py": 'NAME = "Fans"\nVERSION = "2.1"\nAUTHOR = "somebody"\nTOPIC = "{topic}"\n',
    "requirements.txt": "",
    "main.py": 'def get_payload():\n    return {"gpu0/fan/left": 1200}\n',
    "server.py": """
import sparkleM_core
from sqlalchemy import Column, Float

class DataFrame(sparkleM_core.SqlAlchemyBase, sparkleM_core.BaseDataFrame):
    __tablename__ = "fans"
    value = Column(Float)

def add_dataframe(dt, hostname, key, value, session=None, config_id=None):
    if value < 0:
        raise ValueError("expected a speed of at least 0")
    root, main, *details = key.split("/", 2)
    session.add(DataFrame(
        config_id=config_id, date=dt, hostname=hostname, metric_root=root, metric_main=main,
        metric_details=details[0] if details else None, value=value,
    ))
""",
}
"""Uses metric_details, and leaves the commit to the handler."""

DISKS = {
    "__init__.py": """
import os
NAME = "Disks"
VERSION = "0.9.3"
AUTHOR = "somebody else"
TOPIC = "{topic}"
if os.environ.get("SPARKLE_M_SERVER") == "1":
    from .server import *
    from plugins.disks import server
else:
    def get_payload():
        return {"sda": "healthy"}
""",
    "server.py": """
import uuid
import sparkleM_core as core
from sqlalchemy import String
from sqlalchemy.orm import mapped_column

__all__ = ["DataFrame"]

class DataFrame(core.BaseDataFrame, core.SqlAlchemyBase):
    __tablename__ = "disks_readings"
    state = mapped_column(String(64))

def add_dataframe(dt, hostname, key, value, *, session, config_id):
    row = DataFrame()
    row.id = uuid.uuid4()
    row.config_id, row.date, row.hostname = config_id, dt, hostname
    row.metric_root, row.metric_main, row.metric_details = "disk", key, None
    row.state = str(value)
    session.add(row)
    session.commit()
    session.refresh(row)
    return row
""",
}
"""Has its manifest in __init__.py, commits by itself, and has a table with the name that the handler would use."""


PUMPS = {
    "__init__.py": """
import os
NAME = "Pumps"
VERSION = "1.0"
AUTHOR = "a third"
TOPIC = "{topic}"
if os.environ.get("SPARKLE_M_SERVER"):
    from . import server
    from .server import DataFrame
""",
    "server.py": """
import logging
from sparkleM_core import BaseDataFrame, SqlAlchemyBase
from sqlalchemy import Column, Float

class DataFrame(SqlAlchemyBase, BaseDataFrame):
    __tablename__ = "pumps"
    level = Column(Float)

def add_dataframe(dt, hostname, key, value, session=None, config_id=None):
    try:
        session.add(DataFrame(
            config_id=config_id, date=dt, hostname=hostname, metric_root=key, metric_main=key, level=value,
        ))
        session.commit()
    except Exception:
        logging.getLogger(__name__).exception("not stored")
""",
}
"""Does not validate values, and ignores the failure of its commit."""

DOORS = {
    "__init__.py": """
import os
NAME = "Doors"
VERSION = "3"
AUTHOR = "a fourth"
TOPIC = "{topic}"
if os.environ.get("SPARKLE_M_SERVER"):
    from . import server
    from .server import DataFrame
""",
    "server.py": """
import sparkleM_core
from sqlalchemy import Column, Integer, select

class DataFrame(sparkleM_core.SqlAlchemyBase, sparkleM_core.BaseDataFrame):
    __tablename__ = "doors"
    opened = Column(Integer)

def add_dataframe(dt, hostname, key, value, session, config_id):
    if key.startswith("again/"):
        known = session.scalars(select(DataFrame).filter_by(hostname=hostname, metric_main=key[6:])).one()
        known.opened = value
    else:
        session.merge(DataFrame(
            config_id=config_id, date=dt, hostname=hostname, metric_root="door", metric_main=key, opened=value,
        ))
""",
}
"""Does not validate values, and queries rows that may not exist."""


def install(plugins: Path, topic: str) -> None:
    """Write all packages to a plugins folder."""
    packages = {"fans": FANS, "disks": DISKS, "pumps": PUMPS, "doors": DOORS}
    for name, files in packages.items():
        (plugins / name).mkdir()
        for file, text in files.items():
            (plugins / name / file).write_text(text.replace("{topic}", topic))
