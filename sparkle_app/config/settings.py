"""Settings: settings.yaml, overridden by the environment (``SPARKLE_BROKER__URL`` sets ``broker.url``).

Every key is declared here once, with its default, its bounds, its description and the rules that bind it to others;
docs/settings.md is made from it. A rule that is broken is a ConfigurationError.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from socket import gethostname
from typing import Annotated, Any, Literal, Self, cast, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from sparkle_app.model.errors import ConfigurationError

ENV_PREFIX = "SPARKLE_"
RENAMED = {
    "aggregates.horizon_seconds": "aggregates.window_retention_seconds",
    "aggregates.flush_seconds": "aggregates.batch_wait_seconds",
}
"""Deprecated keys, which go on working, and their new names."""
_EVERY_ADDRESS = {"0.0.0.0", "::"}
LOCALHOST = {"127.0.0.1", "::1", "localhost"}

Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(gt=0)]
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]
_DRIVERS = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg2"}
_SERVER = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s:/@\[\]]+):(\d{1,5})")


def _log_level(value: Any) -> Any:
    # What is none is shown as it was written.
    return value.upper() if isinstance(value, str) and value.upper() in get_args(LogLevel) else value


def _servers(value: str) -> str:
    for server in value.split(","):
        match = _SERVER.fullmatch(server.strip())
        if not match or not 1 <= int(match[2]) <= 65535:
            raise ConfigurationError(
                "broker.url",
                expected="HOST:PORT, several separated by commas",
                found=repr(server),
                hint="correct it",
            )
    return value


def _database_url(value: SecretStr) -> SecretStr:
    """The URL with its driver."""
    try:
        url = make_url(value.get_secret_value())
    except ArgumentError as error:
        raise ConfigurationError(
            "database.url",
            expected="a SQLAlchemy URL such as sqlite:///data/sparkle.sqlite3",
            found="something else",
            hint="see docs/settings.md",
        ) from error
    if url.drivername not in {*_DRIVERS, *_DRIVERS.values()}:
        raise ConfigurationError(
            "database.url",
            expected="sqlite:///… or postgresql://…",
            found=url.drivername,
            hint="see docs/settings.md",
        )
    url = url.set(drivername=_DRIVERS.get(url.drivername, url.drivername))
    if url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:"):
        raise ConfigurationError(
            "database.url",
            expected="a file, as in sqlite:///data/sparkle.sqlite3",
            found="a database in memory",
            hint="several connections must see the same data",
        )
    return SecretStr(url.render_as_string(hide_password=False))


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class TlsSettings(_Section):
    enabled: bool = False
    """Whether to talk to Kafka over TLS. The certificate must name the host that `broker.url` names."""
    ca_file: Path | None = None
    """PEM file with the authorities that may sign Kafka's certificate; the system's own when left out."""
    cert_file: Path | None = None
    """PEM file with the worker's certificate, where Kafka asks for one."""
    key_file: Path | None = None
    """PEM file with the private key of `cert_file`, without a password."""

    @property
    def files(self) -> dict[str, Path]:
        """The files that are set, by the names of their keys."""
        named = {"ca_file": self.ca_file, "cert_file": self.cert_file, "key_file": self.key_file}
        return {name: path for name, path in named.items() if path}

    @model_validator(mode="after")
    def _files_are_used(self) -> Self:
        if self.files and not self.enabled:
            raise ConfigurationError(
                "broker.tls.enabled",
                expected=f"true, since broker.tls.{next(iter(self.files))} is set",
                found="false",
                hint="set it, or leave the files out",
            )
        if (self.cert_file is None) != (self.key_file is None):
            missing, there = ("cert_file", "key_file") if self.key_file else ("key_file", "cert_file")
            raise ConfigurationError(
                f"broker.tls.{missing}",
                expected=f"a file, since broker.tls.{there} is set",
                found="none",
                hint="set both or neither",
            )
        return self


class SaslSettings(_Section):
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = None
    """How to log in to Kafka; without it there is no login. Use PLAIN only with `broker.tls`."""
    username: str | None = None
    """Name to log in with."""
    password: SecretStr | None = None
    """Password to log in with."""

    @model_validator(mode="after")
    def _all_or_none(self) -> Self:
        login = {"mechanism": self.mechanism, "username": self.username, "password": self.password}
        missing = [name for name, value in login.items() if not value]
        if missing and len(missing) < len(login):
            raise ConfigurationError(
                f"broker.sasl.{missing[0]}",
                expected="a value, since broker.sasl is used",
                found="none",
                hint="set mechanism, username and password, or none of them",
            )
        return self


class BrokerSettings(_Section):
    url: Annotated[str, AfterValidator(_servers)] = "127.0.0.1:9092"
    """Kafka's bootstrap servers: `HOST:PORT`, several separated by commas."""
    partitions: int = Field(default=8, ge=1, le=1000)
    """Partitions of every topic that the handler creates; the most workers that can share the aggregates."""
    replication: int = Field(default=1, ge=1, le=15)
    """Replicas of every topic that the handler creates. Use 3 where there are three brokers or more."""
    wait_seconds: Seconds = 60
    """How long a starting worker waits for the broker before it gives up."""
    tls: TlsSettings = TlsSettings()
    sasl: SaslSettings = SaslSettings()


class DatabaseSettings(_Section):
    url: Annotated[SecretStr, AfterValidator(_database_url)] = SecretStr("sqlite:///data/sparkle.sqlite3")
    """SQLAlchemy URL. `sqlite:///…` and `postgresql+psycopg2://…` are supported."""
    wait_seconds: Seconds = 60
    """How long a starting worker waits for the database before it gives up."""


class IngestSettings(_Section):
    batch_size: int = Field(default=2500, ge=1, le=10_000)
    """The most records that are decrypted and stored together."""
    batch_wait_seconds: Seconds = 0.03
    """How long the first record of a batch waits for others."""
    processes: int = Field(default=0, ge=0, le=256)
    """Processes that decrypt, beside the worker's own; 0 means as many as there are processor cores."""
    multibuffer: bool = True
    """Decrypt eight readings at once where `requirements-multibuffer.txt` is installed and the processor can."""


class AggregatesSettings(_Section):
    bucket_seconds: int = Field(default=60, ge=1, le=3600)
    """Length of a bucket of event time. When it changes, aggregates of the new length begin anew."""
    window_retention_seconds: int = Field(default=3600, ge=60, le=7 * 86_400)
    """How far back the tables reach; the longest window that can be asked for."""
    batch_wait_seconds: Seconds = 0.05
    """How long the first samples of a batch wait for others before they are counted."""

    @model_validator(mode="after")
    def _whole_buckets(self) -> Self:
        if self.window_retention_seconds % self.bucket_seconds:
            raise ConfigurationError(
                "aggregates.window_retention_seconds",
                expected=f"a multiple of bucket_seconds ({self.bucket_seconds})",
                found=str(self.window_retention_seconds),
                hint="change one of the two",
            )
        return self


class DeadLettersSettings(_Section):
    per_minute: int = Field(default=2500, ge=1)
    """More dead letters than this in a minute stop the worker. So does, before any of them is written, a batch of \
which no key opens nine tenths and at least a tenth of this number."""


class WebSettings(_Section):
    host: str = "127.0.0.1"
    """Address to listen on. Beyond localhost a token is required."""
    port: Port = 6066
    """Port to listen on. Workers on one machine need different ports."""
    token: SecretStr | None = None
    """Bearer token that every request must carry, the same for all workers."""
    public_url: str | None = None
    """Where the other workers reach this one; `http://HOST:PORT` of this section when left out."""

    @model_validator(mode="after")
    def _nothing_answers_everybody(self) -> Self:
        self.require_token(self.host)
        return self

    def require_token(self, host: str, named: str = "web.host") -> None:
        """Beyond localhost nothing answers without a token.

        Arguments:
            host: the address to listen on.
            named: where it is set; Faust's command line can set it as well.

        Raises:
            ConfigurationError: when there is no token.
        """
        if host not in LOCALHOST and not (self.token and self.token.get_secret_value()):
            raise ConfigurationError(
                "web.token",
                expected=f"a token, since {named} is {host}",
                found="none",
                hint="set SPARKLE_WEB__TOKEN, or web.host to 127.0.0.1",
            )


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
    log_level: Annotated[LogLevel, BeforeValidator(_log_level)] = "INFO"
    """The least level that is logged, in capitals or not."""
    broker: BrokerSettings = BrokerSettings()
    database: DatabaseSettings = DatabaseSettings()
    ingest: IngestSettings = IngestSettings()
    aggregates: AggregatesSettings = AggregatesSettings()
    dead_letters: DeadLettersSettings = DeadLettersSettings()
    web: WebSettings = WebSettings()

    @model_validator(mode="after")
    def _one_bad_batch_is_not_too_many(self) -> Self:
        # A single batch of bad records, if keys open them, must not stop the worker for ever.
        if self.dead_letters.per_minute < self.ingest.batch_size:
            raise ConfigurationError(
                "dead_letters.per_minute",
                expected=f"at least ingest.batch_size, {self.ingest.batch_size}",
                found=str(self.dead_letters.per_minute),
                hint="make batches smaller, or allow more dead letters",
            )
        return self

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
        source = cast(EnvSettingsSource, env_settings)
        # Deprecated names are read by the loader.
        old = {f"{ENV_PREFIX}{key}".lower().replace(".", "__") for key in RENAMED}
        source.env_vars = {name: value for name, value in source.env_vars.items() if name not in old}
        return source, init_settings

    @property
    def web_url(self) -> str:
        """Where other workers reach this one."""
        # An address that stands for all of the machine's is nobody's: the machine's name is its own.
        host = gethostname() if self.web.host in _EVERY_ADDRESS else self.web.host
        host = f"[{host}]" if ":" in host else host
        return self.web.public_url or f"http://{host}:{self.web.port}"


def masked(settings: Settings) -> Iterator[tuple[str, str]]:
    """Each key with its effective value, secrets masked, for the log at start."""
    for key in setting_names(Settings):
        value: Any = settings
        for part in key.split("."):
            value = getattr(value, part)
        if key == "database.url":
            value = database_url(settings).render_as_string(hide_password=True)
        yield key, str(value)


def database_url(settings: Settings) -> URL:
    """The SQLAlchemy URL."""
    return make_url(settings.database.url.get_secret_value())


def is_section(field: FieldInfo) -> bool:
    """Whether a field holds keys of its own."""
    return isinstance(field.annotation, type) and issubclass(field.annotation, _Section)


def setting_names(model: type[BaseModel], prefix: str = "", only: str = "") -> Iterator[str]:
    """The names of all settings, as in ``broker.url``; those of one section with ``only``."""
    for name, field in model.model_fields.items():
        if only and name != only:
            continue
        if is_section(field):
            yield from setting_names(cast(type[BaseModel], field.annotation), f"{prefix}{name}.")
        else:
            yield prefix + name
