"""The settings that say where a control plane is: its files, its address, and servers of one's own."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings

from valhalla.kit.setting_types import CellKeyText, NatsUrl, OperatorSeed, PostgresUrl, ReadableFile, ValkeyUrl


class Places(BaseSettings):
    """The first of the settings."""

    data_dir: Path = Field(Path(".valhalla"), description="where the control plane keeps its files")
    environment: str = Field(
        "local", pattern=r"^[a-z]{1,12}$", description="its name is in every key; keys of others are refused"
    )
    host: str = Field("127.0.0.1", description="address to bind; anything but loopback needs TLS or allow_plaintext")
    port: int = Field(0, ge=0, le=65_535, description="port to bind; 0 keeps the last one, or takes a free one")
    allow_plaintext: bool = Field(False, description="permit a non-loopback address without TLS")
    tls_cert: ReadableFile | None = Field(None, description="PEM certificate chain")
    tls_key: ReadableFile | None = Field(None, description="PEM private key")

    database_url: PostgresUrl | None = Field(
        None, description="an external PostgreSQL (16 or newer) instead of the embedded; see 'valhalla db bootstrap'"
    )
    valkey_url: ValkeyUrl | None = Field(
        None, description="an external Valkey or Redis (7 or newer): an admin user's URL"
    )
    nats_url: NatsUrl | None = Field(
        None, description="an external NATS server in operator mode with the full resolver"
    )
    nats_operator_seed: OperatorSeed | None = Field(None, description="the operator's (signing) seed, SO…")
    nats_system_creds: SecretStr | None = Field(
        None, description="credentials of a system-account user: text or a path"
    )
    nats_ca_file: ReadableFile | None = Field(
        None, description="PEM certificates of the CAs that its certificate may be signed by; for a tls:// nats_url"
    )
    nats_client_cert: ReadableFile | None = Field(
        None, description="PEM certificate for a NATS server that wants to know its clients"
    )
    nats_client_key: ReadableFile | None = Field(None, description="PEM private key of nats_client_cert")
    cell_key: CellKeyText | None = Field(None, description="base64 of 32 bytes; made in data_dir when absent")
