"""Settings: which source wins, what stops the start, and that no message repeats a value."""

from __future__ import annotations

import traceback
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from valhalla.kernel.problems import Misconfigured
from valhalla.kit import natsauth
from valhalla.kit.cellkey import CellKey
from valhalla.kit.settings import Settings, load
from valhalla.server import settings_page

SECRET = "hunter2-hunter2"
SEED = natsauth.operator_key(CellKey(bytes(32))).seed


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current directory and none of the caller's variables."""
    import os

    for name in list(os.environ):
        if name.startswith("VALHALLA_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(config: Path | None = None, **overrides: Any) -> Misconfigured:
    """Load what must be refused; nothing that would be printed of it repeats the secret."""
    with pytest.raises(Misconfigured) as caught:
        load(config, **overrides)
    problem = caught.value
    printed = "".join(traceback.format_exception(problem)) + str(problem.document())
    assert SECRET not in printed
    seen: BaseException | None = problem
    while seen is not None:
        assert SECRET not in repr(seen)
        seen = seen.__context__ or seen.__cause__
    return problem


def test_the_command_line_wins_then_the_environment_then_the_file(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load().port == 0
    (elsewhere / "valhalla.toml").write_text("port = 1\nlog_level = 'debug'\nmax_ttl = '200h'\n")
    assert load().port == 1
    monkeypatch.setenv("VALHALLA_PORT", "2")
    assert load().port == 2
    settings = load(port=3, log_level=None)
    assert (settings.port, settings.log_level, settings.max_ttl) == (3, "debug", timedelta(hours=200))
    other = elsewhere / "other.toml"
    other.write_text("log_level = 'error'\n")
    assert load(other).log_level == "error"


@pytest.mark.parametrize(
    ("text", "setting"),
    [
        ("prot = 1", "prot"),
        (f"secret = '{SECRET}'", "secret"),
        (f"port = '{SECRET}'", "port"),
        ("port = 65536", "port"),
        ("port = true\nlease = []", "lease"),
        ("[port]\nx = 1", "port"),
        (f"database_url = '{SECRET}'", "database_url"),
        (f"database_url = 'mysql://u:{SECRET}@h/x'", "database_url"),
        (f"database_url = ['{SECRET}']", "database_url"),
        (f"valkey_url = 'http://u:{SECRET}@h'", "valkey_url"),
        (f"valkey_url = 'redis://:{SECRET}@'", "valkey_url"),
        (f"cell_key = '{SECRET}'", "cell_key"),
        (f"nats_operator_seed = '{SECRET}'", "nats_operator_seed"),
        (f"nats_system_creds = '{SECRET}'", "nats_url"),
        (f"nats_url = 'nats://u:{SECRET}@h:4222'", "nats_url"),
        ("nats_url = 'nats://h:4222'", "nats_url"),
        ("nats_ca_file = '/dev/null'", "nats_url"),
        ("nats_client_cert = '/dev/null'", "nats_client_cert"),
        ("default_ttl = 0", "default_ttl"),
        ("default_ttl = -1", "default_ttl"),
        ("default_ttl = nan", "default_ttl"),
        ("default_ttl = inf", "default_ttl"),
        ("default_ttl = true", "default_ttl"),
        ("default_ttl = '169h'", "default_ttl"),
        ("default_ttl = 'soon'", "default_ttl"),
        ("reap_interval = 1e18", "reap_interval"),
        ("orphan_grace = -1", "orphan_grace"),
        ("max_sandboxes_per_owner = 0", "max_sandboxes_per_owner"),
        ("log_level = 'loud'", "log_level"),
        ("host = 'example.org'", "host"),
        ("tls_cert = '/nowhere'", "tls_cert"),
        (f"port = '{SECRET}", "config"),
        ("port = 1\nport = 2", "config"),
    ],
)
def test_a_bad_file_stops_the_start(elsewhere: Path, text: str, setting: str) -> None:
    (elsewhere / "valhalla.toml").write_text(text)

    problem = refused()

    assert problem.extra["setting"] == setting
    assert setting in problem.detail or setting == "config"


@pytest.mark.parametrize(
    ("name", "value", "setting"),
    [
        ("VALHALLA_PROT", SECRET, "VALHALLA_PROT"),
        ("VALHALLA_PORT", SECRET, "port"),
        ("VALHALLA_PORT", "", "port"),
        ("VALHALLA_ACCESS_LOG", SECRET, "access_log"),
        ("VALHALLA_DATABASE_URL", SECRET, "database_url"),
        ("VALHALLA_DATABASE_URL", "", "database_url"),
        ("VALHALLA_DATABASE_URL", f"postgresql://u:{SECRET}@[h/x", "database_url"),
        ("VALHALLA_CELL_KEY", SECRET, "cell_key"),
    ],
)
def test_a_bad_variable_stops_the_start(monkeypatch: pytest.MonkeyPatch, name: str, value: str, setting: str) -> None:
    monkeypatch.setenv(name, value)

    assert refused().extra["setting"] == setting


def test_a_bad_override_stops_the_start() -> None:
    assert refused(port=SECRET).extra["setting"] == "port"
    assert refused(nothing=SECRET).extra["setting"] == "nothing"
    assert refused(config=Path("nowhere.toml")).extra["setting"] == "config"


def test_a_file_that_is_no_text(elsewhere: Path) -> None:
    (elsewhere / "valhalla.toml").write_bytes(b"port = \xff\xfe")
    assert refused().extra["setting"] == "config"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_binding_wider_needs_tls_or_the_flag(elsewhere: Path, host: str) -> None:
    problem = refused(host=host)
    assert problem.extra["setting"] == "host"
    assert "allow_plaintext" in problem.detail
    assert load(host=host, allow_plaintext=True).host == host
    pem = elsewhere / "tls.pem"
    pem.write_text("pem")
    assert load(host=host, tls_cert=pem, tls_key=pem).host == host
    assert refused(host=host, tls_cert=pem).extra["setting"] == "tls_cert"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_loopback_needs_nothing(host: str) -> None:
    assert load(host=host).is_loopback


@pytest.mark.parametrize(
    ("written", "seconds"),
    [(90, 90), ("90", 90), ("1.5", 1.5), ("90m", 5400), ("1h30m", 5400), ("7d", 604_800), ("PT15S", 15)],
)
def test_durations(written: object, seconds: float) -> None:
    assert load(lease=written).lease.total_seconds() == seconds


def test_secrets_are_not_printed() -> None:
    url = f"postgresql://u:{SECRET}@h:5432/x"
    settings = load(database_url=url, valkey_url=f"rediss://:{SECRET}@h", nats_url="tls://h:4222",
                    nats_operator_seed=SEED, nats_system_creds=SECRET)  # fmt: skip

    assert settings.database_url is not None
    assert settings.database_url.get_secret_value() == url
    assert SECRET not in repr(settings) + str(settings) + settings.model_dump_json()
    assert SEED not in repr(settings)


def test_the_page_is_current() -> None:
    page = (Path(__file__).parents[2] / "docs" / "settings.md").read_text()

    assert page == settings_page.page(), "run: python -m valhalla.server.settings_page > docs/settings.md"
    for name, field in Settings.model_fields.items():
        assert f"`VALHALLA_{name.upper()}`" in page
        assert field.description
