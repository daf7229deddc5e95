"""Settings: settings.yaml, overridden by environment variables (``SPARKLE_BROKER__URL`` sets ``broker.url``).

Every key is declared here, in sections.py or in retention.py, with its default, bounds, description, and the rules
that relate it to other keys. docs/settings.md is generated from them. A violated rule is a ConfigurationError.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Self, cast, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    PrivateAttr,
    ValidationInfo,
    field_validator,
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

from sparkle_app.config.retention import RetentionSettings
from sparkle_app.config.sections import (
    AggregatesSettings,
    BrokerSettings,
    DatabaseSettings,
    DeadLettersSettings,
    IngestSettings,
    Section,
    plain_value,
)
from sparkle_app.config.url_parameters import shown
from sparkle_app.config.web import WebSettings

ENV_PREFIX = "SPARKLE_"
RENAMED = {
    "aggregates.horizon_seconds": "aggregates.window_retention_seconds",
    "aggregates.flush_seconds": "aggregates.batch_wait_seconds",
    "dead_letters.per_minute": "dead_letters.per_cause",
}
"""Deprecated keys, which still work, and their new names."""

LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]


def _log_level(value: Any) -> Any:
    # An invalid level is not changed: the error shows it as it was written.
    return value.upper() if isinstance(value, str) and value.upper() in get_args(LogLevel) else value


class Settings(BaseSettings):
    """All settings. Paths are absolute once loaded."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        nested_model_default_partial_update=True,
    )

    app_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,60}$")] = "sparkle"
    """Consumer group, and prefix of the handler's own topics."""
    certs: Path = Path("certs")
    """Folder of secrets: the private keys `rsa_key_<id>` and the internal key."""
    plugins: Path = Path("plugins")
    """Folder of plugin packages."""
    data: Path = Path("data")
    """Folder for the worker's own files."""
    log_level: Annotated[LogLevel, BeforeValidator(_log_level)] = "INFO"
    """Minimum level of logged messages, case-insensitive."""
    broker: BrokerSettings = BrokerSettings()
    database: DatabaseSettings = DatabaseSettings()
    ingest: IngestSettings = IngestSettings()
    aggregates: AggregatesSettings = AggregatesSettings()
    dead_letters: DeadLettersSettings = DeadLettersSettings()
    retention: RetentionSettings = RetentionSettings()
    web: WebSettings = WebSettings()

    _source: str = PrivateAttr("defaults")
    _defaults: "Settings | None" = PrivateAttr(None)

    @field_validator("*", mode="before")
    @classmethod
    def _plain_values(cls, value: Any, info: ValidationInfo) -> Any:
        return plain_value(cls.model_fields[info.field_name or ""], value)

    @model_validator(mode="after")
    def _windows_are_kept(self) -> Self:
        self.retention.require_window(self.aggregates.window_retention_seconds)
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
        """Environment variables override the file."""
        source = cast(EnvSettingsSource, env_settings)
        # Deprecated names are read in loading.py.
        old = {f"{ENV_PREFIX}{key}".lower().replace(".", "__") for key in RENAMED}
        source.env_vars = {name: value for name, value in source.env_vars.items() if name not in old}
        return source, init_settings

    @property
    def source(self) -> str:
        """The settings file, or that there is none; environment variables override both."""
        return self._source

    @property
    def defaults(self) -> "Settings":
        """What the settings are if neither the file nor the environment sets any."""
        return self._defaults or Settings.model_construct()

    def set_source(self, source: str, defaults: "Settings") -> None:
        """Set :attr:`source` and :attr:`defaults`; called once, when the settings are loaded."""
        self._source, self._defaults = source, defaults

    @property
    def web_url(self) -> str:
        """The URL at which other workers reach this one."""
        return self.web.url(self.web.host, self.web.port)


def masked(settings: Settings) -> Iterator[tuple[str, str]]:
    """Each key with its effective value, secrets masked, for the log at startup."""
    for key in setting_names(Settings):
        yield key, str(shown(database_url(settings)) if key == "database.url" else _value(settings, key))


def changed(settings: Settings) -> Iterator[tuple[str, str]]:
    """Those of :func:`masked` that differ from their defaults."""
    for key, text in masked(settings):
        if _value(settings, key) != _value(settings.defaults, key):
            yield key, text


def _value(settings: Settings, key: str) -> Any:
    value: Any = settings
    for part in key.split("."):
        value = getattr(value, part)
    return value


def database_url(settings: Settings) -> URL:
    """The SQLAlchemy URL."""
    return make_url(settings.database.url.get_secret_value())


def is_section(field: FieldInfo) -> bool:
    """Whether a field is a section, with keys of its own."""
    return isinstance(field.annotation, type) and issubclass(field.annotation, Section)


def setting_names(model: type[BaseModel], prefix: str = "", only: str = "") -> Iterator[str]:
    """The names of all settings, such as ``broker.url``, or only those of the section ``only``."""
    for name, field in model.model_fields.items():
        if only and name != only:
            continue
        if is_section(field):
            yield from setting_names(cast(type[BaseModel], field.annotation), f"{prefix}{name}.")
        else:
            yield prefix + name


def number_bounds(key: str) -> str:
    """What a number has to be, with its bounds; empty if the setting is not a number."""
    *sections, name = key.split(".")
    model: type[BaseModel] = Settings
    for section in sections:
        field = model.model_fields.get(section)
        if field is None or not is_section(field):
            return ""
        model = cast(type[BaseModel], field.annotation)
    field = model.model_fields.get(name)
    kind = field and {int: "a whole number", float: "a number"}.get(cast(Any, field.annotation))
    if not field or not kind:
        return ""
    bounds = {
        bound: getattr(each, bound)
        for each in field.metadata
        for bound in ("ge", "gt", "le")
        if hasattr(each, bound)
    }
    if "gt" in bounds:
        return f"{kind} greater than {bounds['gt']} and at most {bounds['le']}"
    if "le" in bounds:
        return f"{kind} from {bounds['ge']} to {bounds['le']}"
    return f"{kind} of at least {bounds['ge']}"
