"""The sections of the settings: keys with their defaults, bounds and descriptions, and the rules of each section."""

import os
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo

from sparkle_app.config.urls import bootstrap_servers, database_url
from sparkle_app.model.buckets import MAX_BUCKET_SECONDS, MIN_BUCKET_SECONDS
from sparkle_app.model.errors import ConfigurationError
from sparkle_app.model.retention import MAX_WINDOW

WaitSeconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]
# Records wait so long, each time.
BatchSeconds = Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)]


def plain_value(field: FieldInfo, value: Any) -> Any:
    """A value that is not validated yet; not what pydantic would convert to something else than was meant.

    Raises:
        ValueError: if it is such a value.
    """
    kind = field.annotation
    # 1, also if YAML's `yes` was meant for another key.
    if isinstance(value, bool) and kind in (int, float):
        raise ValueError("a number")
    if isinstance(value, str) and Path in (kind, *get_args(kind)):
        # An empty one would be the folder of the settings file.
        if not _is_path(value):
            raise ValueError("a path")
        if value.startswith("~"):
            raise ValueError("a path without ~, which only a shell replaces")
    if isinstance(value, str) and "\0" in value:
        raise ValueError("text without NUL characters")
    return value


def _is_path(text: str) -> bool:
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        return False
    return bool(text.strip()) and "\0" not in text


class Section(BaseModel):
    """Keys below one key."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("*", mode="before")
    @classmethod
    def _plain_values(cls, value: Any, info: ValidationInfo) -> Any:
        return plain_value(cls.model_fields[info.field_name or ""], value)


class TlsSettings(Section):
    enabled: bool = False
    """Whether to connect to Kafka over TLS. The broker's certificate must be valid for the host in `broker.url`."""
    ca_file: Path | None = None
    """PEM file with the certificate authorities to trust; by default those of the operating system."""
    cert_file: Path | None = None
    """PEM file with the worker's client certificate, if the broker requires one."""
    key_file: Path | None = None
    """PEM file with the private key of `cert_file`, unencrypted."""

    @property
    def files(self) -> dict[str, Path]:
        """The files that are set, by key."""
        named = {"ca_file": self.ca_file, "cert_file": self.cert_file, "key_file": self.key_file}
        return {name: path for name, path in named.items() if path}

    @model_validator(mode="after")
    def _files_require_tls(self) -> Self:
        if self.files and not self.enabled:
            raise ConfigurationError(
                "broker.tls.enabled",
                expected=f"true, since broker.tls.{next(iter(self.files))} is set",
                found="false",
                hint="set it to true, or remove the files",
            )
        if (self.cert_file is None) != (self.key_file is None):
            missing, present = ("cert_file", "key_file") if self.key_file else ("key_file", "cert_file")
            raise ConfigurationError(
                f"broker.tls.{missing}",
                expected=f"a file, since broker.tls.{present} is set",
                found="none",
                hint="set both or neither",
            )
        return self


class SaslSettings(Section):
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = None
    """SASL mechanism; without one, the worker does not authenticate. Use PLAIN only with `broker.tls`."""
    username: str | None = None
    """SASL user name."""
    password: SecretStr | None = None
    """SASL password."""

    @model_validator(mode="after")
    def _all_or_none(self) -> Self:
        login = {"mechanism": self.mechanism, "username": self.username, "password": self.password}
        missing = [name for name, value in login.items() if not value]
        if missing and len(missing) < len(login):
            raise ConfigurationError(
                f"broker.sasl.{missing[0]}",
                expected="a value, since other keys of broker.sasl are set",
                found="none",
                hint="set mechanism, username and password, or none of them",
            )
        return self


class BrokerSettings(Section):
    url: Annotated[str, AfterValidator(bootstrap_servers)] = "127.0.0.1:9092"
    """Kafka's bootstrap servers: `HOST:PORT`, several separated by commas, each with or without `kafka://`."""
    partitions: int = Field(default=8, ge=1, le=1000)
    """Partitions of every topic that the handler creates; also the maximum number of workers that share aggregates."""
    replication: int = Field(default=1, ge=1, le=15)
    """Replication factor of every topic that the handler creates. Use 3 with three or more brokers."""
    wait_seconds: WaitSeconds = 60
    """How long a worker waits for the broker at startup before it exits."""
    tls: TlsSettings = TlsSettings()
    sasl: SaslSettings = SaslSettings()


class DatabaseSettings(Section):
    url: Annotated[SecretStr, AfterValidator(database_url)] = SecretStr("sqlite:///data/sparkle.sqlite3")
    """SQLAlchemy URL. `sqlite:///…`, `postgresql://…`, `mysql://…` and `mariadb://…` are supported; the last two
    require the extra `mysql`. `oracle://…`, with the extra `oracle`, has not been tested against a server. For other
    databases that SQLAlchemy has a dialect for, see "Other databases" in docs/operations.md. Write `@` in a password as
    `%40`."""
    wait_seconds: WaitSeconds = 60
    """How long a worker waits for the database at startup before it exits."""
    migrate: bool = False
    """Whether a worker migrates tables of an earlier version at startup. Otherwise it exits with one line, and \
`faust -A sparkle_app migrate` migrates them."""


class IngestSettings(Section):
    batch_size: int = Field(default=2500, ge=1, le=10_000)
    """Maximum number of records that are decrypted together, and of readings that are stored in one transaction. \
Above 1,000, a batch is limited to what is decrypted in half a second, or while the previous batch is stored."""
    batch_wait_seconds: BatchSeconds = 0.03
    """How long the first record of a batch waits for others."""
    processes: int = Field(default=0, ge=0, le=256)
    """Processes of the decryption pool, in addition to the worker's main process; 0: one per processor core that \
the worker may use (affinity, or the CPU quota of its container)."""
    multibuffer: bool = True
    """Decrypt eight readings at once, if `requirements-multibuffer.txt` is installed and the processor supports it."""


class AggregatesSettings(Section):
    bucket_seconds: int = Field(default=60, ge=MIN_BUCKET_SECONDS, le=MAX_BUCKET_SECONDS)
    """Bucket size. If it changes, aggregation starts over with the new size: run `rebuild` for the time before."""
    window_retention_seconds: int = Field(default=3600, ge=60, le=MAX_WINDOW)
    """How long the tables keep buckets: the longest window of queries. Must be a multiple of `bucket_seconds`."""
    max_metrics_per_host: int = Field(default=2000, ge=1, le=25_000)
    """Maximum number of distinct metrics of a host, plugin and bucket; readings of others become dead letters \
(`too_many_metrics`)."""
    batch_wait_seconds: BatchSeconds = 0.05
    """How long the first samples of a batch wait for others before they are counted."""

    @model_validator(mode="after")
    def _whole_buckets(self) -> Self:
        if self.window_retention_seconds % self.bucket_seconds:
            raise ConfigurationError(
                "aggregates.window_retention_seconds",
                expected=f"a multiple of bucket_seconds ({self.bucket_seconds})",
                found=str(self.window_retention_seconds),
                hint="change either setting",
            )
        return self


class DeadLettersSettings(Section):
    per_cause: int = Field(default=10, ge=1)
    """Maximum number of dead letters per minute and worker with the same topic, reason, config, host, plugin and \
metric; further ones are only counted. Records that become readings once a key, a plugin, a limit or a table is \
corrected are not limited."""
    hold_undecryptable: int = Field(default=250, ge=1)
    """Minimum number of undecryptable records in ten seconds that opens the circuit breaker, if they are also at \
least 90 % of the records received. Records of the affected configs are then held back, uncommitted, until a key \
decrypts them."""
