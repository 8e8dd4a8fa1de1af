"""Every setting of a control plane: ``valhalla.toml``, then ``VALHALLA_*``, then the command line wins."""

from __future__ import annotations

import ipaddress
import os
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from valhalla.kernel.problems import Misconfigured

PREFIX: Final = "VALHALLA_"
# read by the client or by tests, not settings of the control plane
_OTHER_VARIABLES: Final = frozenset(
    {"VALHALLA_URL", "VALHALLA_API_KEY", "VALHALLA_CRASH_AT", "VALHALLA_OWNER"}
)


class Settings(BaseSettings):
    """The control plane's settings. Durations are seconds or ISO 8601 (``PT15S``)."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True, validate_default=True)

    data_dir: Path = Field(Path(".valhalla"), description="where the control plane keeps its files")
    host: str = Field(
        "127.0.0.1", description="address to bind; anything but loopback needs TLS or allow_plaintext"
    )
    port: int = Field(
        0, ge=0, le=65_535, description="port to bind; 0 keeps the last one, or takes a free one"
    )
    allow_plaintext: bool = Field(False, description="permit a non-loopback address without TLS")
    tls_cert: Path | None = Field(None, description="PEM certificate chain")
    tls_key: Path | None = Field(None, description="PEM private key")

    database_url: SecretStr | None = Field(
        None, description="an external PostgreSQL (16 or newer) instead of the embedded"
    )
    valkey_url: SecretStr | None = Field(
        None, description="an external Valkey or Redis (7 or newer): an admin user's URL"
    )
    nats_url: str | None = Field(
        None, description="an external NATS server in operator mode with the full resolver"
    )
    nats_operator_seed: SecretStr | None = Field(None, description="the operator's (signing) seed, SO…")
    nats_system_creds: SecretStr | None = Field(
        None, description="credentials of a system-account user: text or a path"
    )
    cell_key: SecretStr | None = Field(None, description="base64 of 32 bytes; made in data_dir when absent")

    default_ttl: timedelta = Field(timedelta(hours=24), gt=timedelta(0))
    max_ttl: timedelta = Field(timedelta(hours=168), gt=timedelta(0))
    max_sandboxes_per_owner: int = Field(5, ge=1, le=100_000)
    sandbox_connections: int = Field(5, ge=1, le=1000, description="Postgres connections per sandbox")
    sandbox_statement_timeout: timedelta = Field(timedelta(seconds=60), gt=timedelta(0))
    templates_dir: Path | None = Field(
        None, description="folders of .sql files or template.toml; data_dir/templates"
    )

    reap_interval: timedelta = Field(timedelta(seconds=15), gt=timedelta(0))
    lease: timedelta = Field(timedelta(seconds=30), gt=timedelta(0))
    orphan_grace: timedelta = Field(timedelta(minutes=10), ge=timedelta(0))
    max_body_bytes: int = Field(1_048_576, ge=1024)
    log_level: str = Field("info", pattern="^(debug|info|warning|error)$")
    access_log: bool = True

    @field_validator("host")
    @classmethod
    def _address(cls, value: str) -> str:
        if value != "localhost":
            ipaddress.ip_address(value)
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        if self.default_ttl > self.max_ttl:
            raise ValueError("default_ttl is longer than max_ttl")
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key go together")
        if not self.is_loopback and self.tls_cert is None and not self.allow_plaintext:
            raise ValueError(
                f"refusing to bind {self.host} without TLS: set tls_cert and tls_key, or allow_plaintext if a proxy"
                " in front does TLS"
            )
        if (self.nats_url is None) != (self.nats_operator_seed is None or self.nats_system_creds is None):
            raise ValueError("nats_url, nats_operator_seed and nats_system_creds go together")
        return self

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect."""
        return self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Order the sources; the TOML file comes from ``model_config['toml_file']`` of the subclass ``load`` makes."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)


def load(config: Path | None = None, **overrides: Any) -> Settings:
    """Read the settings.

    ``config`` defaults to ``valhalla.toml`` in the current directory if there is one. ``overrides`` win over the
    environment, which wins over the file.

    Raises:
        Misconfigured: a key is unknown or a value is bad; ``extra["setting"]`` names it, secrets are not echoed.
    """
    path = config or Path("valhalla.toml")
    if config is not None and not config.is_file():
        raise Misconfigured(f"the configuration file {config} does not exist", setting="config")
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields} | _OTHER_VARIABLES
    for variable in os.environ:
        if variable.startswith(PREFIX) and variable not in known:
            raise Misconfigured(f"{variable} is no setting", setting=variable)

    class FromFile(Settings):
        model_config = SettingsConfigDict(toml_file=path)

    try:
        return FromFile(**{key: value for key, value in overrides.items() if value is not None})
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        name = ".".join(str(part) for part in first["loc"]) or "settings"
        reason = (
            "it is no setting"
            if first["type"] == "extra_forbidden"
            else first["msg"].removeprefix("Value error, ")
        )
        raise Misconfigured(f"{name}: {reason}", setting=name) from error
    except ValueError as error:
        raise Misconfigured(f"{path}: {error}", setting="config") from error
