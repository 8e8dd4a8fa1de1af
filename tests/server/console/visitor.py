"""Whoever looks at the console without a screen: its cookies, its forms, the tags of a page."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from html import unescape
from html.parser import HTMLParser

import httpx
from tests.server.plane import Plane

FORM = re.compile(r'name="_form" value="([^"]+)"')


@asynccontextmanager
async def browser(plane: Plane) -> AsyncGenerator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(plane.app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://plane") as client:
        yield client


def tags_of(page: str) -> list[tuple[str, dict[str, str | None]]]:
    found: list[tuple[str, dict[str, str | None]]] = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attrs: found.append((tag, dict(attrs)))
    parser.feed(page)
    return found


async def form_of(client: httpx.AsyncClient, path: str) -> str:
    answer = await client.get(path)
    found = FORM.search(answer.text)
    assert found is not None, answer.text
    return unescape(found[1])


async def sign_in(client: httpx.AsyncClient, key: str) -> None:
    form = await form_of(client, "/console/login")
    answer = await client.post("/console/login", data={"_form": form, "key": key})
    assert answer.status_code == 303, answer.text


def commands(page: str) -> list[str]:
    """Return what a page offers to copy."""
    return [unescape(found) for found in re.findall(r'data-copy="([^"]*)"', page)]
