"""Servers of the user's own: another cell's control plane on servers that somebody else set up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from pydantic import SecretStr
from sqlalchemy.engine import make_url
from tests.conftest import Servers
from tests.server.plane import Plane, running

from valhalla.embedded import Endpoints
from valhalla.kernel.problems import Misconfigured, Unavailable
from valhalla.kit import natsauth
from valhalla.kit.cellkey import CellKey
from valhalla.kit.settings import Settings
from valhalla.server import database
from valhalla.server.options import ServeOptions

SECRET = "not-the-password"


def url_of(servers: Servers, role: str, password: str, name: str) -> str:
    url = make_url(servers.superuser_url).set(username=role, password=password, database=name)
    return url.render_as_string(hide_password=False)


@pytest.fixture
async def superuser(servers: Servers) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(servers.superuser_url)
    yield connection
    await connection.close()


@pytest.fixture
def options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ServeOptions:
    """A data directory of its own, hence a cell of its own."""
    monkeypatch.chdir(tmp_path)
    return ServeOptions(data_dir=tmp_path / "data")


def settings(servers: Servers, data_dir: Path, database_url: str) -> Settings:
    """What the operator of three external servers sets."""
    assert servers.endpoints.valkey_url is not None
    return Settings(
        data_dir=data_dir,
        database_url=database_url,  # type: ignore[arg-type]
        valkey_url=servers.endpoints.valkey_url,  # type: ignore[arg-type]
        nats_url=servers.endpoints.nats_url,
        nats_operator_seed=natsauth.operator_key(servers.cell).seed,  # type: ignore[arg-type]
        nats_system_creds=natsauth.system_creds(servers.cell),  # type: ignore[arg-type]
        reap_interval=timedelta(days=1),
        access_log=False,
    )


async def live_once(servers: Servers, data_dir: Path, cell: CellKey, database_url: str) -> list[str]:
    """Live through one sandbox on external servers; return what the start found."""
    async with running(settings(servers, data_dir, database_url), cell, Endpoints()) as plane:
        client = plane.client(await plane.admin_key())
        ready = (await client.get("/ready")).json()
        assert ready["status"] == "ready", ready
        assert {each["mode"] for each in (await client.get("/system/info")).json()["services"].values()} == {"external"}
        made = await client.post("/api/sandboxes", json={"owner": "ext"})
        assert made.status_code == 201, made.text
        path = f"/api/sandboxes/{made.json()['id']}"
        assert (await client.get(f"{path}/status")).json()["health"] == "healthy"
        login = await asyncpg.connect(made.json()["connection"]["postgres"]["url"])
        assert await login.fetchval("SELECT count(*) FROM profiles") == 0
        await login.close()
        ended = await client.delete(path, params={"wait": 10})
        assert ended.json()["status"] == "destroyed", ended.text
        await asyncio.sleep(0)
        assert ready["findings"] == plane.runtime.findings
        return plane.runtime.findings


async def test_bootstrap_gives_a_role_that_is_no_superuser_and_hardens(
    servers: Servers, superuser: Any, options: ServeOptions
) -> None:
    before = await superuser.fetch("SELECT datname, datacl::text FROM pg_database ORDER BY 1")

    def make() -> str:
        return database.bootstrap(options, servers.superuser_url, role="ext_boot", database="ext_boot")

    url = await asyncio.to_thread(make)

    assert await asyncio.to_thread(make) == url
    assert make_url(url).database == "ext_boot"
    row = await superuser.fetchrow(
        "SELECT rolsuper, rolcreaterole, rolcreatedb FROM pg_roles WHERE rolname = 'ext_boot'"
    )
    assert tuple(row) == (False, True, True)
    after = await superuser.fetch("SELECT datname, datacl::text FROM pg_database ORDER BY 1")
    assert set(before) <= set(after), "nothing that was there is changed"
    assert options.data_dir is not None
    cell = CellKey.load_or_create(options.data_dir / "cell.key")
    assert cell.password("control.postgres") == make_url(url).password

    findings = await live_once(servers, options.data_dir, cell, url)

    assert not any("superuser" in finding or "not hardened" in finding for finding in findings), findings
    assert any("can connect to" in finding and "REVOKE CONNECT" in finding for finding in findings), findings


@pytest.mark.slow
async def test_a_role_without_bootstrap_works_and_says_what_is_open(
    servers: Servers, superuser: Any, tmp_path: Path
) -> None:
    await superuser.execute("CREATE ROLE ext_plain LOGIN CREATEROLE CREATEDB PASSWORD 'plain-secret'")
    await superuser.execute("CREATE DATABASE ext_plain OWNER ext_plain TEMPLATE template0")
    cell = CellKey(b"p" * 32)

    findings = await live_once(servers, tmp_path, cell, url_of(servers, "ext_plain", "plain-secret", "ext_plain"))

    assert any("not hardened" in finding and "db bootstrap" in finding for finding in findings), findings
    [open_to] = [finding for finding in findings if "can connect to" in finding]
    assert "ext_plain" in open_to


@pytest.mark.slow
async def test_a_superuser_works_and_is_told_to_use_less(servers: Servers, superuser: Any, tmp_path: Path) -> None:
    await superuser.execute("CREATE DATABASE ext_super TEMPLATE template0")
    cell = CellKey(b"s" * 32)
    url = make_url(servers.superuser_url).set(database="ext_super").render_as_string(hide_password=False)

    findings = await live_once(servers, tmp_path, cell, url)

    assert any("is a superuser" in finding for finding in findings), findings
    assert not any("not hardened" in finding for finding in findings), findings


async def test_a_role_that_may_too_little_is_refused(servers: Servers, superuser: Any, tmp_path: Path) -> None:
    await superuser.execute("CREATE ROLE ext_weak LOGIN PASSWORD 'weak-secret'")
    await superuser.execute("CREATE DATABASE ext_weak OWNER ext_weak TEMPLATE template0")
    url = url_of(servers, "ext_weak", "weak-secret", "ext_weak")

    with pytest.raises(Misconfigured) as caught:
        async with running(settings(servers, tmp_path, url), CellKey(b"w" * 32), Endpoints()):
            pass

    assert caught.value.extra["setting"] == "database_url"
    assert "CREATEROLE" in caught.value.detail
    assert "ALTER ROLE" in caught.value.advice
    assert "weak-secret" not in str(caught.value.document())


async def test_bootstrap_refuses(servers: Servers, superuser: Any, options: ServeOptions) -> None:
    await superuser.execute("CREATE ROLE ext_theirs LOGIN CREATEROLE CREATEDB PASSWORD 'their-secret'")
    stored = await superuser.fetchval("SELECT rolpassword FROM pg_authid WHERE rolname = 'ext_theirs'")
    databases = await superuser.fetchval("SELECT count(*) FROM pg_database")
    super_role = make_url(servers.superuser_url).username
    assert super_role is not None
    theirs = url_of(servers, "ext_theirs", "their-secret", "postgres")
    cases: list[tuple[str, str, str, str]] = [
        (theirs, "ext_new", "x", "superuser_url"),
        ("nonsense", "ext_new", "x", "superuser_url"),
        ("postgresql:///x", "ext_new", "x", "superuser_url"),
        (servers.superuser_url, "ext_theirs", "x", "role"),
        (servers.superuser_url, super_role, "x", "role"),
        (servers.superuser_url, "x" * 64, "x", "role"),
        (servers.superuser_url, "ext_new", "", "database"),
        (servers.superuser_url.replace("@", "x@", 1), "ext_new", "x", "superuser_url"),
    ]
    for url, role, name, setting in cases:
        with pytest.raises(Misconfigured) as caught:
            await asyncio.to_thread(database.bootstrap, options, url, role=role, database=name)
        assert caught.value.extra["setting"] == setting, (role, caught.value.detail)
        assert "their-secret" not in str(caught.value.document())
    nowhere = make_url(servers.superuser_url).set(port=1).render_as_string(hide_password=False)
    with pytest.raises(Unavailable) as away:
        await asyncio.to_thread(database.bootstrap, options, nowhere)
    assert away.value.backend == "postgres"
    assert await superuser.fetchval("SELECT rolpassword FROM pg_authid WHERE rolname = 'ext_theirs'") == stored
    assert await superuser.fetchval("SELECT count(*) FROM pg_database") == databases
    assert not await superuser.fetchval("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = 'ext_new')")


def _other(servers: Servers, setting: str) -> str:
    """Return a value that names a server which is not there or does not let us in."""
    own = servers.cell.password("control.postgres")
    assert servers.endpoints.valkey_url is not None
    values = {
        "wrong password": url_of(servers, "valhalla", SECRET, "valhalla"),
        "no such role": url_of(servers, "nobody", SECRET, "valhalla"),
        "no such database": url_of(servers, "valhalla", own, "nowhere"),
        "no Postgres there": make_url(servers.superuser_url).set(port=1).render_as_string(hide_password=False),
        "wrong Valkey password": make_url(servers.endpoints.valkey_url).set(password=SECRET).render_as_string(False),
        "no Valkey there": f"redis://admin:{SECRET}@127.0.0.1:1/0",
        "no NATS there": "nats://127.0.0.1:1",
        "another operator": natsauth.operator_key(CellKey(b"o" * 32)).seed,
        "another system account": natsauth.system_creds(CellKey(b"o" * 32)),
        "a file that is not there": "/nowhere/system.creds",
    }
    return values[setting]


@pytest.mark.parametrize(
    ("case", "setting", "backend"),
    [
        # each start takes seconds: one of each server here, the others with the slow ones
        ("wrong password", "database_url", "postgres"),
        ("wrong Valkey password", "valkey_url", "valkey"),
        ("another operator", "nats_operator_seed", "nats"),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in (
                ("no such role", "database_url", "postgres"),
                ("no such database", "database_url", "postgres"),
                ("no Postgres there", "database_url", "postgres"),
                ("no Valkey there", "valkey_url", "valkey"),
                ("no NATS there", "nats_url", "nats"),
                ("another system account", "nats_system_creds", "nats"),
                ("a file that is not there", "nats_system_creds", "nats"),
            )
        ),
    ],
)
async def test_the_start_says_which_server_does_not_fit(
    plane: Plane, servers: Servers, tmp_path: Path, case: str, setting: str, backend: str
) -> None:
    del plane  # the role exists once it has started
    control = url_of(servers, "valhalla", servers.cell.password("control.postgres"), "valhalla")
    broken = settings(servers, tmp_path, control).model_copy(update={setting: _secret(setting, _other(servers, case))})

    with pytest.raises((Misconfigured, Unavailable)) as caught:
        async with running(broken, servers.cell, Endpoints()):
            pass

    problem = caught.value
    named = f"{getattr(problem, 'backend', '')} {problem.extra.get('setting')} {problem.detail}".lower()
    assert backend in named
    assert problem.advice
    assert SECRET not in str(problem.document())


def _secret(setting: str, value: str) -> object:
    return value if setting == "nats_url" else SecretStr(value)
