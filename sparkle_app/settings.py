"""Settings: settings.yaml, overridden by the environment (``SPARKLE_BROKER__URL`` sets ``broker.url``).

Every key is declared here once, with its default, its bounds and its description; docs/settings.md is made from it.
"""

from collections.abc import Iterator
from pathlib import Path
from socket import gethostname
from typing import Annotated, Any, Literal, cast, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)
from sqlalchemy.engine import URL, make_url

ENV_PREFIX = "SPARKLE_"
_EVERY_ADDRESS = {"0.0.0.0", "::"}
LOCALHOST = {"127.0.0.1", "::1", "localhost"}

Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(gt=0)]
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]


def _log_level(value: Any) -> Any:
    # What is none is shown as it was written.
    return value.upper() if isinstance(value, str) and value.upper() in get_args(LogLevel) else value


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class BrokerTls(_Section):
    enabled: bool = False
    """Whether to talk to Kafka over TLS. The certificate must name the host that `broker.url` names."""
    ca_file: Path | None = None
    """PEM file with the authorities that may sign Kafka's certificate; the system's own when left out."""
    cert_file: Path | None = None
    """PEM file with the worker's certificate, where Kafka asks for one."""
    key_file: Path | None = None
    """PEM file with the private key of `cert_file`, without a password."""


class BrokerSasl(_Section):
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = None
    """How to log in to Kafka; without it there is no login. Use PLAIN only with `broker.tls`."""
    username: str | None = None
    """Name to log in with."""
    password: SecretStr | None = None
    """Password to log in with."""


class Broker(_Section):
    url: str = "127.0.0.1:9092"
    """Kafka's bootstrap servers: `HOST:PORT`, several separated by commas."""
    partitions: int = Field(default=8, ge=1, le=1000)
    """Partitions of every topic that the handler creates; the most workers that can share the aggregates."""
    replication: int = Field(default=1, ge=1, le=15)
    """Replicas of every topic that the handler creates. Use 3 where there are three brokers or more."""
    wait_seconds: Seconds = 60
    """How long a starting worker waits for the broker before it gives up."""
    tls: BrokerTls = BrokerTls()
    sasl: BrokerSasl = BrokerSasl()


class Database(_Section):
    url: SecretStr = SecretStr("sqlite:///data/sparkle.sqlite3")
    """SQLAlchemy URL. `sqlite:///…` and `postgresql+psycopg2://…` are supported."""
    wait_seconds: Seconds = 60
    """How long a starting worker waits for the database before it gives up."""


class Ingest(_Section):
    batch_size: int = Field(default=2500, ge=1, le=10_000)
    """The most records that are decrypted and stored together."""
    batch_wait_seconds: Seconds = 0.03
    """How long the first record of a batch waits for others."""
    processes: int = Field(default=0, ge=0, le=256)
    """Processes that decrypt, beside the worker's own; 0 means as many as there are processor cores."""
    multibuffer: bool = True
    """Decrypt eight readings at once where `requirements-multibuffer.txt` is installed and the processor can."""


class Aggregates(_Section):
    bucket_seconds: int = Field(default=60, ge=1, le=3600)
    """Length of a bucket of event time. When it changes, aggregates of the new length begin anew."""
    horizon_seconds: int = Field(default=3600, ge=60, le=7 * 86_400)
    """How far back the tables reach; the longest window that can be asked for."""
    flush_seconds: Seconds = 0.05
    """How long a changed bucket waits for others before it is written to SQL."""


class DeadLetters(_Section):
    per_minute: int = Field(default=2500, ge=1)
    """More dead letters than this in a minute stop the worker. So does, before any of them is written, a batch of \
which no key opens nine tenths and at least a tenth of this number."""


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
    log_level: Annotated[LogLevel, BeforeValidator(_log_level)] = "INFO"
    """The least level that is logged, in capitals or not."""
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
