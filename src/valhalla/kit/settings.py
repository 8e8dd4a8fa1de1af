"""Every setting of a control plane: ``valhalla.toml``, then ``VALHALLA_*``, then the command line wins."""

from __future__ import annotations

import ipaddress
import os
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from valhalla.kernel.problems import Misconfigured
from valhalla.kit.setting_people import People
from valhalla.kit.setting_types import (
    BucketUrl,
    Duration,
    DurationOrZero,
    ExportView,
    HttpUrl,
    Network,
    Origin,
)

PREFIX: Final = "VALHALLA_"
# read by the client or by tests, not settings of the control plane
_OTHER_VARIABLES: Final = frozenset(
    {
        "VALHALLA_URL",
        "VALHALLA_API_KEY",
        "VALHALLA_CRASH_AT",
        "VALHALLA_OWNER",
        "VALHALLA_SUPERUSER_URL",
        "VALHALLA_CORRELATION_ID",
    }
)


class Settings(People):
    """The control plane's settings. A duration is seconds, ``90m``, ``24h``, ``7d``, ``1h30m`` or ISO 8601."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True, validate_default=True)

    default_ttl: Duration = Field(timedelta(hours=24), description="a sandbox's lifetime if none is asked")
    max_ttl: Duration = Field(timedelta(hours=168), description="longest lifetime, from creation")
    max_sandboxes_per_owner: int = Field(5, ge=1, le=100_000, description="live sandboxes an owner may have")
    sandbox_connections: int = Field(5, ge=1, le=1000, description="Postgres connections per sandbox")
    sandbox_statement_timeout: Duration = Field(
        timedelta(seconds=60), description="longest statement in a sandbox's database, unless it says else"
    )
    scram_iterations: int = Field(
        4096,
        ge=1,
        le=1_000_000,
        description="rounds of sandboxes' Postgres passwords, which are 256 random bits: 1 is as safe and makes and"
        " connects faster, but Java's driver refuses it",
    )
    templates_dir: Path | None = Field(
        None, description="folders of .sql files or with a template.toml; data_dir/templates when absent"
    )
    snapshots_dir: Path | None = Field(
        None, description="what 'sandbox snapshot' has copied; data_dir/snapshots when absent"
    )
    snapshot_mb: int = Field(256, ge=1, le=65_536, description="most that one snapshot may hold, in MiB")
    sqlite_dir: Path | None = Field(None, description="the files of SQLite slices; data_dir/sqlite when absent")

    arena_size: int = Field(1000, ge=1, le=100_000, description="sandboxes that one arena database takes in its life")
    pool_size: int = Field(8, ge=0, le=100_000, description="complete sandboxes kept ready per template; 0: none")
    pool_most: int = Field(1000, ge=1, le=100_000, description="how far the pool grows with the rate of creations")
    pool_rate: float = Field(40.0, gt=0, le=10_000, description="sandboxes the pool builds per second")
    pool_rush: float = Field(
        120.0, gt=0, le=10_000, description="sandboxes the pool builds per second at most, while callers wait for them"
    )
    pool_templates: list[str] = Field(["community"], description="templates that are pooled")

    quota_objects: int = Field(
        5000, ge=0, description="tables, indexes, views, functions… a sandbox may have before it is ended; 0: any"
    )
    quota_postgres_mb: int = Field(1024, ge=0, description="megabytes its tables and indexes may take; 0: any")
    quota_valkey_keys: int = Field(100_000, ge=0, description="keys it may have; 0: any")
    quota_valkey_mb: int = Field(64, ge=0, description="megabytes its keys may take; 0: any")

    reap_interval: Duration = Field(timedelta(seconds=15), description="pause between the reaper's runs")
    lease: Duration = Field(
        timedelta(seconds=30), description="how long unfinished work stays with a worker that went silent"
    )
    orphan_grace: DurationOrZero = Field(
        timedelta(minutes=10),
        description="how long something without a sandbox is left alone",
    )
    worker_jobs: int = Field(
        8,
        ge=0,
        le=1000,
        description="jobs that its own worker runs at once; 0: no worker, another control plane does its work",
    )
    max_body_bytes: int = Field(1_048_576, ge=1024, le=2**31, description="largest request body")
    body_timeout: Duration = Field(timedelta(seconds=30), description="how long a request body may take to arrive")
    trusted_proxies: list[Network] = Field(
        [], description="addresses and networks whose Forwarded and X-Forwarded-For are believed; none when empty"
    )
    country_header: str | None = Field(
        None, max_length=64, description="in which header trusted proxies say the country of clients: CF-IPCountry"
    )
    asn_header: str | None = Field(
        None, max_length=64, description="in which header trusted proxies say the AS number of clients"
    )
    agent_ban: Duration = Field(
        timedelta(hours=4), description="how long whom a CrowdSec agent tells of is blocked; 0 for nobody"
    )
    cors_origins: list[Origin] = Field(
        [], description="origins whose pages may call the API from a browser, such as https://console.example; '*': any"
    )
    drain_grace: DurationOrZero = Field(
        timedelta(milliseconds=100),
        description="how long it goes on serving after SIGTERM while /ready already answers 503; longer than what asks"
        " takes to look twice",
    )
    maintenance_notice: DurationOrZero = Field(
        timedelta(minutes=15), description="how long before a window of maintenance every answer names it in a header"
    )
    console_session: Duration = Field(
        timedelta(hours=12), description="how long somebody who signed in to the console stays so, used or not"
    )
    graphql: bool = Field(False, description="answer GraphQL queries at /graphql; see docs/graphql.md")
    redact_fields: list[str] = Field(
        [],
        description="further parts of names (iban, patient) whose values are secret: in logs, the ledger, held calls,"
        " exports",
    )
    log_level: str = Field("info", pattern="^(debug|info|warning|error)$", description="debug, info, warning or error")
    access_log: bool = Field(True, description="write a line for each request")
    log_store: bool = Field(True, description="keep log lines in the database, to be searched at /system/logs")
    log_store_level: str = Field(
        "info", pattern="^(debug|info|warning|error)$", description="the least level of lines that are kept there"
    )
    log_store_access: bool = Field(False, description="keep the line of each request there, too")
    export_views: list[ExportView] = Field(
        [],
        description="views of the control plane's database that may be exported, as reporting.daily(id): the columns in"
        " brackets order its rows, and let an interrupted export go on",
    )
    export_store: BucketUrl | None = Field(
        None, description="where files of exports go, such as s3://bucket/prefix; data_dir/exports when absent"
    )
    export_s3_endpoint: HttpUrl | None = Field(None, description="an S3-compatible server; AWS when absent")
    export_s3_region: str | None = Field(None, max_length=64, description="its region")
    export_s3_key: SecretStr | None = Field(None, description="its access key id; AWS's variables when absent")
    export_s3_secret: SecretStr | None = Field(None, description="its secret access key")
    exports_kept: Duration = Field(timedelta(days=7), description="how long files of exports are kept")
    export_max_mb: int = Field(0, ge=0, description="megabytes the files of one export may take; 0: any")
    logs_kept: Duration = Field(timedelta(days=14), description="how long log lines are kept")
    events_mb: int = Field(256, ge=1, description="megabytes of live events that are kept, all lanes together")
    events_when_full: Literal["oldest", "refuse"] = Field(
        "oldest", description="over events_mb the oldest events go (oldest), or publishers are refused (refuse)"
    )
    events_kept: Duration = Field(timedelta(hours=24), description="how long live events are kept")
    events_per_sandbox: int = Field(
        100_000, ge=1, description="events that one sandbox's lane keeps; the oldest go first"
    )
    events_mb_per_sandbox: int = Field(
        64, ge=1, description="megabytes that one sandbox's lane keeps; the oldest events go first"
    )
    events_lag: Duration = Field(
        timedelta(minutes=5), description="from which age of its oldest unread event a lane that is read lags"
    )
    events_barrier: Duration = Field(
        timedelta(milliseconds=500), description="how long ingresses have to follow a claim before they are late"
    )
    events_laggards: Literal["fence", "refuse"] = Field(
        "fence", description="a late ingress is cut off (fence), or the claim is withdrawn (refuse)"
    )
    route_proofs: dict[str, str] = Field(
        {},
        description="who may claim keys, by kind of route ('*': the rest): anyone, admin, nobody, a URL that is asked,"
        " or module:function; whoever comes first when absent",
    )
    route_proof_timeout: Duration = Field(
        timedelta(seconds=3), description="how long the answer may take; a claim without one is refused"
    )
    route_proof_secret: SecretStr | None = Field(None, description="signs these questions, as Standard Webhooks do")
    trace_sample: float = Field(
        0.05, ge=0, le=1, description="the share of traces that are kept although nothing failed or was slow in them"
    )
    trace_slow: Duration = Field(timedelta(seconds=1), description="from which duration on a trace is always kept")
    traces_kept: Duration = Field(timedelta(days=3), description="how long spans are kept")
    otlp_endpoint: HttpUrl | None = Field(
        None, description="where kept spans are sent as OTLP/HTTP, such as http://collector:4318; nowhere when absent"
    )
    otlp_protobuf: bool = Field(True, description="send them as protobuf instead of as JSON")
    otlp_headers: SecretStr | None = Field(
        None, description="headers of these requests, as name=value, separated by commas"
    )

    @field_validator("host")
    @classmethod
    def _address(cls, value: str) -> str:
        if value != "localhost":
            try:
                ipaddress.ip_address(value)
            except ValueError:
                raise ValueError("it must be an IP address or localhost") from None
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        # the error's type is the setting to look at
        if self.default_ttl > self.max_ttl:
            raise PydanticCustomError("default_ttl", "it is longer than max_ttl")
        if (self.tls_cert is None) != (self.tls_key is None):
            raise PydanticCustomError("tls_cert", "tls_cert and tls_key go together")
        if not self.is_loopback and self.tls_cert is None and not self.allow_plaintext:
            raise PydanticCustomError(
                "host",
                "refusing to bind beyond loopback without TLS: set tls_cert and tls_key, or allow_plaintext if a proxy"
                " in front does TLS",
            )
        if self.oidc_issuer is not None and not (self.oidc_client_id and self.oidc_roles):
            raise PydanticCustomError("oidc_issuer", "it goes together with oidc_client_id and oidc_roles")
        if self.oidc_client_secret is not None and self.oidc_client_secret_file is not None:
            raise PydanticCustomError("oidc_client_secret", "name the secret or its file, not both")
        nats = (self.nats_url, self.nats_operator_seed, self.nats_system_creds)
        if any(nats) and not all(nats):
            raise PydanticCustomError("nats_url", "nats_url, nats_operator_seed and nats_system_creds go together")
        if (self.nats_client_cert is None) != (self.nats_client_key is None):
            raise PydanticCustomError("nats_client_cert", "nats_client_cert and nats_client_key go together")
        if (self.nats_ca_file or self.nats_client_cert) and not (self.nats_url or "").startswith("tls://"):
            raise PydanticCustomError("nats_url", "for nats_ca_file and nats_client_cert it must be tls://host:port")
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
        problem = _problem(error)
    except (ValueError, OSError) as error:
        # of the errors that pass here only TOML's own says where it is, and it repeats no value
        problem = Misconfigured(f"{path}: {error}", setting="config")
    # outside of the handlers: pydantic's error holds the values, and a chained traceback would print them
    raise problem


def _problem(error: ValidationError) -> Misconfigured:
    first = error.errors(include_input=False, include_url=False, include_context=False)[0]
    name = ".".join(str(part) for part in first["loc"]) or first["type"]
    unknown = first["type"] == "extra_forbidden"
    reason = "it is no setting" if unknown else first["msg"].removeprefix("Value error, ")
    return Misconfigured(f"{name}: {reason}", setting=name)
