"""Compatibility module for plugin packages written for the earlier handler (docs/plugins.md)."""

import uuid
from datetime import datetime

from sqlalchemy import DateTime, Integer, String, Uuid
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from sparkle_app.plugin.legacy import create_session, current_config_id
from sparkle_app.storage.models import Base

__all__ = ["BaseDataFrame", "Session", "SqlAlchemyBase", "create_session"]


class SqlAlchemyBase(DeclarativeBase):
    """Base class of the tables of these packages, which the handler creates together with its own."""

    __allow_unmapped__ = True
    metadata = Base.metadata


class BaseDataFrame:
    """Columns of the tables of these packages."""

    id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True, default=uuid.uuid4)
    # Some packages do not set it.
    config_id: Mapped[int] = mapped_column(Integer, default=current_config_id)
    date: Mapped[datetime] = mapped_column(DateTime)
    hostname: Mapped[str] = mapped_column(String)
    metric_root: Mapped[str] = mapped_column(String)
    metric_main: Mapped[str] = mapped_column(String)
    metric_details: Mapped[str | None] = mapped_column(String)
