"""Settings: settings.yaml, overridden by the environment (``SPARKLE_BROKER__URL`` sets ``broker.url``).

Every key is declared here once, with its default, its bounds and its description; docs/settings.md is made from it.
"""

import difflib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import yaml
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    YamlConfigSettingsSource,
)
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from sparkle_app.errors import StartupFault

ENV_PREFIX = "SPARKLE_"
ENV_FILE_NAME = "SPARKLE_SETTINGS"
# SPARKLE_M_SERVER tells plugin packages that a handler imports them; it is no setting.
_NOT_SETTINGS = {ENV_FILE_NAME, "SPARKLE_M_SERVER"}
LOCALHOST = {"127.0.0.1", "::1", "localhost"}

Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(gt=0)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Broker(_Section):
    url: str = "127.0.0.1:9092"
    """Kafka's bootstrap servers: `HOST:PORT`, several separated by commas."""
    partitions: int = Field(default=8, ge=1, le=1000)
    """Partitions of every topic that the handler creates; the most workers that can share the aggregates."""
    replication: int = Field(default=1, ge=1, le=15)
    """Replicas of every topic that the handler creates. Use 3 where there are three brokers or more."""
    wait_seconds: Seconds = 60
    """How long a starting worker waits for the broker before it gives up."""


class Database(_Section):
    url: SecretStr = SecretStr("sqlite:///data/sparkle.sqlite3")
    """SQLAlchemy URL. `sqlite:///…` and `postgresql+psycopg2://…` are supported."""
    wait_seconds: Seconds = 60
    """How long a starting worker waits for the database before it gives up."""


class Ingest(_Section):
    batch_size: int = Field(default=1000, ge=1, le=10_000)
    """The most records that are decrypted and stored together."""
    batch_wait_seconds: Seconds = 0.1
    """How long the first record of a batch waits for others."""
    threads: int = Field(default=0, ge=0, le=256)
    """Threads that decrypt; 0 means one for each processor core."""


class Aggregates(_Section):
    bucket_seconds: int = Field(default=60, ge=1, le=3600)
    """Length of a bucket of event time. When it changes, aggregates of the new length begin anew."""
    horizon_seconds: int = Field(default=3600, ge=60, le=7 * 86_400)
    """How far back the tables reach; the longest window that can be asked for."""
    flush_seconds: Seconds = 0.5
    """How long a changed bucket waits for others before it is written to SQL."""


class DeadLetters(_Section):
    per_minute: int = Field(default=1000, ge=1)
    """More dead letters than this in a minute stop the worker: a wrong key must not drain a topic."""


class Web(_Section):
    host: str = "127.0.0.1"
    """Address to listen on. Beyond localhost a token is required."""
    port: Port = 6066
    """Port to listen on. Workers on one machine need different ports."""
    token: SecretStr | None = None
    """Bearer token that every request must carry, the same for all workers."""
    public_url: str | None = None
    """Where the other workers reach this one; `http://HOST:PORT` of this section when left out."""


class Settings(BaseSettings):
    """Everything that can be set. Paths are absolute once loaded."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        nested_model_default_partial_update=True,
    )

    app_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,60}$")] = "sparkle"
    """Consumer group and prefix of the handler's own topics."""
    certs: Path = Path("certs")
    """Folder of secrets: private keys `rsa_key_<id>` and the key that seals internal topics."""
    plugins: Path = Path("plugins")
    """Folder of plugin packages."""
    data: Path = Path("data")
    """Folder of the worker's own files."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """The least level that is logged."""
    broker: Broker = Broker()
    database: Database = Database()
    ingest: Ingest = Ingest()
    aggregates: Aggregates = Aggregates()
    dead_letters: DeadLetters = DeadLetters()
    web: Web = Web()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment goes before the file."""
        return env_settings, init_settings

    @property
    def web_url(self) -> str:
        """Where other workers reach this one."""
        host = f"[{self.web.host}]" if ":" in self.web.host else self.web.host
        return self.web.public_url or f"http://{host}:{self.web.port}"


def load_settings(path: Path | None = None) -> Settings:
    """Read ``path``, or the file that SPARKLE_SETTINGS names, or settings.yaml of the project.

    Raises:
        StartupFault: naming the file or variable, what was expected and what was found.
    """
    named = os.environ.get(ENV_FILE_NAME)
    path = (path or (Path(named) if named else Path(__file__).parents[1] / "settings.yaml")).resolve()
    known = list(_keys(Settings))
    for variable in os.environ:
        if variable.startswith(ENV_PREFIX) and variable not in _NOT_SETTINGS:
            key = variable.removeprefix(ENV_PREFIX).lower().replace("__", ".")
            if key not in known:
                raise _unknown(f"environment variable {variable}", key, known)
    try:
        values = YamlConfigSettingsSource(Settings, yaml_file=path)() if _readable(path) else {}
        for name, value in values.items():
            section = Settings.model_fields.get(name)
            # What is no mapping would be passed over for the section's defaults.
            if section and _is_section(section) and not isinstance(value, dict):
                raise StartupFault(
                    f"{path}, {name}",
                    expected=f"keys such as {next(_keys(Settings, only=name))}",
                    found=repr(value),
                    hint="see docs/settings.md",
                )
        settings = Settings(**values)
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise StartupFault(
            str(path), expected="YAML", found=" ".join(str(error).split()), hint="mend the file"
        ) from error
    except ValidationError as error:
        raise _fault(path, error, known) from error
    except TypeError as error:
        raise StartupFault(
            str(path), expected="keys with values", found=str(error), hint="mend the file"
        ) from error
    return _checked(path, settings)


def masked(settings: Settings) -> Iterator[tuple[str, str]]:
    """Each key with its effective value, secrets masked, for the log at start."""
    for key in _keys(Settings):
        value: Any = settings
        for part in key.split("."):
            value = getattr(value, part)
        if key == "database.url":
            value = database_url(settings).render_as_string(hide_password=True)
        yield key, str(value)


def database_url(settings: Settings) -> URL:
    """The SQLAlchemy URL."""
    return make_url(settings.database.url.get_secret_value())


def _is_section(field: FieldInfo) -> bool:
    return isinstance(field.annotation, type) and issubclass(field.annotation, _Section)


def _keys(model: type[BaseModel], prefix: str = "", only: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        if only and name != only:
            continue
        if _is_section(field):
            yield from _keys(cast(type[BaseModel], field.annotation), f"{prefix}{name}.")
        else:
            yield prefix + name


def _readable(path: Path) -> bool:
    if path.is_file():
        return True
    raise StartupFault(
        str(path),
        expected="a settings file",
        found="none",
        hint=f"name one with {ENV_FILE_NAME}, or restore settings.yaml",
    )


def _unknown(where: str, key: str, known: list[str]) -> StartupFault:
    nearest = difflib.get_close_matches(key, known, n=1, cutoff=0.4)
    hint = f"the nearest is {nearest[0]}" if nearest else "see docs/settings.md"
    return StartupFault(where, expected="a known setting", found=key, hint=hint)


def _fault(path: Path, error: ValidationError, known: list[str]) -> StartupFault:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    variable = ENV_PREFIX + key.upper().replace(".", "__")
    where = f"environment variable {variable}" if variable in os.environ else f"{path}, {key}"
    if first["type"] == "extra_forbidden":
        return _unknown(f"{path}, {key}", key, known)
    # A secret's wrong value must not be printed either.
    found = "a value of the wrong kind" if key in {"database.url", "web.token"} else repr(first["input"])
    return StartupFault(
        where,
        expected=first["msg"].removeprefix("Input should be "),
        found=found,
        hint="see docs/settings.md",
    )


def _checked(path: Path, settings: Settings) -> Settings:
    """Paths made absolute, and the rules that span several keys."""
    folder = path.parent
    try:
        url = database_url(settings)
    except ArgumentError as error:
        raise StartupFault(
            "database.url",
            expected="a SQLAlchemy URL such as sqlite:///data/sparkle.sqlite3",
            found="something else",
            hint="see docs/settings.md",
        ) from error
    if url.drivername not in {*_DRIVERS, *_DRIVERS.values()}:
        raise StartupFault(
            "database.url",
            expected="sqlite:///… or postgresql://…",
            found=url.drivername,
            hint="see docs/settings.md",
        )
    url = url.set(drivername=_DRIVERS.get(url.drivername, url.drivername))
    if url.get_backend_name() == "sqlite":
        if url.database in (None, "", ":memory:"):
            raise StartupFault(
                "database.url",
                expected="a file, as in sqlite:///data/sparkle.sqlite3",
                found="a database in memory",
                hint="several connections must see the same data",
            )
        url = url.set(database=str(folder / url.database))
    for server in settings.broker.url.split(","):
        match = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^\s:/@\[\]]+):(\d{1,5})", server.strip())
        if not match or not 1 <= int(match[2]) <= 65535:
            raise StartupFault(
                "broker.url",
                expected="HOST:PORT, several separated by commas",
                found=repr(server),
                hint="correct it",
            )
    if settings.web.host not in LOCALHOST and not (
        settings.web.token and settings.web.token.get_secret_value()
    ):
        raise StartupFault(
            "web.token",
            expected=f"a token, since web.host is {settings.web.host}",
            found="none",
            hint="set SPARKLE_WEB__TOKEN, or web.host to 127.0.0.1",
        )
    if settings.aggregates.horizon_seconds % settings.aggregates.bucket_seconds:
        raise StartupFault(
            "aggregates.horizon_seconds",
            expected=f"a multiple of bucket_seconds ({settings.aggregates.bucket_seconds})",
            found=str(settings.aggregates.horizon_seconds),
            hint="change one of the two",
        )
    return settings.model_copy(
        update={
            "certs": folder / settings.certs,
            "plugins": folder / settings.plugins,
            "data": folder / settings.data,
            "database": settings.database.model_copy(
                update={"url": SecretStr(url.render_as_string(hide_password=False))}
            ),
        }
    )


_DRIVERS = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg2"}
