"""What is copied from a page: commands that a shell takes as they are, and the address by which the browser came."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from datetime import timedelta

import click
import httpx
import pytest
from starlette.requests import Request
from starlette.responses import Response
from tests.conftest import Servers
from tests.server.console.visitor import browser, commands, form_of
from tests.server.plane import Plane, running

from valhalla.cli.main import cli
from valhalla.gate.rules import networks
from valhalla.kit.settings import Settings
from valhalla.server.console import PAGES, copying, visit

PROXY = networks(["10.0.0.0/8"])


@pytest.mark.parametrize(
    "key", ["plain.key", "a;reboot", "$(id)", "`id`", 'it\'s "so"', "a b", "-rf", "--server=http://x"]
)
def test_a_key_in_a_command_is_one_word_and_no_option(key: str) -> None:
    words = shlex.split(copying.one("valhalla flag get", key))
    assert words[:3] == ["valhalla", "flag", "get"]
    assert words[3:] == (["--", key] if key.startswith("-") else [key])


def test_a_key_that_a_terminal_acts_on_has_no_command() -> None:
    assert copying.one("valhalla flag get", "a\x1b[201~\nreboot\n") == ""
    assert copying.one("", "key") == ""


@pytest.mark.parametrize(
    ("command", "chosen", "told"),
    [
        ("valhalla job ls", {}, "valhalla job ls"),
        ("valhalla job ls", {"status": "dead", "name": "a b;c"}, "valhalla job ls --status=dead '--name=a b;c'"),
        ("valhalla job ls", {"nothing": "x"}, ""),
        ("valhalla job ls", {"name": "a\nb"}, ""),
        ("valhalla flag ls", {"q": "new", "owner": "me"}, "valhalla flag ls --search=new --where=owner=me"),
        ("valhalla logs", {"correlation_id": "c"}, "valhalla logs --correlation=c"),
        ("valhalla logs", {"until": "2031-01-01T00:00:00Z"}, ""),
        ("valhalla alert ls", {"unresolved": "true"}, "valhalla alert ls"),
        ("valhalla alert ls", {"status": "resolved"}, "valhalla alert ls --status=resolved"),
        ("valhalla alert ls", {"status": "resolved", "unresolved": "true"}, ""),
        ("valhalla alert ls", {}, ""),
        ("", {}, ""),
    ],
)
def test_a_list_is_copied_with_its_filters_or_not_at_all(command: str, chosen: Mapping[str, str], told: str) -> None:
    assert copying.listing(command, chosen) == told


def test_every_option_that_is_copied_is_there() -> None:
    listed = {page.cli for page in PAGES}
    for words in (*copying.OPTIONS, *copying.REGISTRIES):
        assert words in listed, words
        found: click.Command = cli
        for word in words.split()[1:]:
            assert isinstance(found, click.Group)
            within = found.get_command(click.Context(found), word)
            assert within is not None, words
            found = within
        options = {option for each in found.params for option in each.opts}
        wanted = copying.OPTIONS.get(words, {"q": "search", "": "where"}).values()
        assert {f"--{one}" for one in wanted} <= options, words


async def test_the_filters_are_in_both_commands(chief: httpx.AsyncClient) -> None:
    told = commands((await chief.get("/console/jobs?name=x%27y&status=dead")).text)
    assert shlex.split(told[0]) == ["valhalla", "job", "ls", "--status=dead", "--name=x'y"]
    assert "name=x%27y" in told[1]
    alone = commands((await chief.get("/console/logs?until=2031-01-01T00:00:00Z")).text)
    assert [one.partition(" ")[0] for one in alone] == ["curl"]


def request(peer: str, scheme: str = "http", **headers: str) -> Request:
    sent = [
        (name.replace("_", "-").encode(), value.encode()) for name, value in {"host": "in.example", **headers}.items()
    ]
    return Request(
        {
            "type": "http", "method": "GET", "path": "/console/", "root_path": "/console", "query_string": b"",
            "scheme": scheme, "server": None, "client": (peer, 1), "headers": sent, "state": {},
        }
    )  # fmt: skip


def reached(asked: Request, public: str | None = None) -> tuple[bool, str]:
    """Return whether a cookie would be secure, and what commands begin with."""
    visit.address_of(asked, PROXY, public)
    response = Response()
    visit.keep(response, asked, "session", "x", 60, "/console")
    return "secure" in response.headers["set-cookie"].lower(), visit.Visit(asked, None, None, None).origin


def test_a_trusted_proxy_says_how_it_was_called_and_nobody_else() -> None:
    assert reached(request("10.0.0.1", x_forwarded_proto="https")) == (True, "https://in.example")
    assert reached(request("10.0.0.1", x_forwarded_proto="http, https")) == (True, "https://in.example")
    assert reached(request("10.0.0.1", x_forwarded_proto="javascript")) == (False, "http://in.example")
    assert reached(request("10.0.0.1")) == (False, "http://in.example")
    assert reached(request("192.0.2.1", x_forwarded_proto="https")) == (False, "http://in.example")
    assert reached(request("192.0.2.1", "https", x_forwarded_proto="http")) == (True, "https://in.example")
    assert reached(request("10.0.0.1", "https", x_forwarded_proto="http")) == (False, "http://in.example")


def test_the_address_in_the_settings_holds_before_what_is_seen() -> None:
    public = "https://valhalla.example/console"
    assert reached(request("192.0.2.1"), public) == (True, "https://valhalla.example")
    assert reached(request("10.0.0.1", x_forwarded_proto="http"), f"{public}/") == (True, "https://valhalla.example")
    deeper = "https://example.com/ops/console"
    assert reached(request("192.0.2.1"), deeper) == (True, "https://example.com/ops")


async def test_behind_a_trusted_proxy_the_session_is_secure_and_commands_use_https(servers: Servers) -> None:
    settings = Settings(
        data_dir=servers.data_dir,
        reap_interval=timedelta(days=1),
        access_log=False,
        pool_size=0,
        worker_jobs=0,
        trusted_proxies=["127.0.0.0/8"],
    )
    async with running(settings, servers.cell, servers.endpoints) as plane, browser(plane) as client:
        client.base_url = "https://plane"
        client.headers["X-Forwarded-Proto"] = "https"
        form = await form_of(client, "http://plane/console/login")
        body = {"_form": form, "key": await plane.admin_key()}
        answer = await client.post("http://plane/console/login", data=body, headers={"Cookie": nonce(client)})
        assert answer.status_code == 303, answer.text
        assert all("secure" in one.lower() for one in answer.headers.get_list("set-cookie"))
        page = (await client.get("/console/jobs")).text
        assert commands(page)[1].endswith(" https://plane/system/jobs")


def nonce(client: httpx.AsyncClient) -> str:
    """What a browser sends back of a secure cookie: the proxy took it over HTTPS."""
    return "; ".join(f"{one.name}={one.value}" for one in client.cookies.jar)


async def test_whoever_calls_directly_cannot_claim_a_scheme(plane: Plane) -> None:
    async with browser(plane) as client:
        answer = await client.get("/console/login", headers={"X-Forwarded-Proto": "https"})
        assert "secure" not in answer.headers["set-cookie"].lower()
