"""What the test of every page needs to know of one: how something comes into it, and what its button does."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
from tests.server.console.desk import Desk
from tests.server.plane import Plane


@dataclass
class World:
    """Another person than the one who looks: what they do, and what is to be taken away afterwards."""

    plane: Plane
    admin: httpx.AsyncClient
    issue: Callable[..., Awaitable[dict[str, Any]]]
    gone: list[str] = field(default_factory=list)

    async def send(self, method: str, path: str, body: Any = None, by: httpx.AsyncClient | None = None) -> Any:
        """Send a request that must be taken, and return the answer's document."""
        answer = await (by or self.admin).request(method, path, json=body)
        assert answer.status_code < 400, (method, path, answer.text)
        return answer.json() if answer.content else None

    async def somebody(self, name: str, *scopes: str, **members: Any) -> httpx.AsyncClient:
        """Return a client with a key of its own."""
        issued = await self.issue(name, *scopes, **members)
        self.gone.append(f"/system/api-clients/{issued['id']}")
        return self.plane.client(issued["key"])

    async def tidy(self) -> None:
        """Take away what was made, as far as that is possible."""
        for path in reversed(self.gone):
            await self.admin.delete(path)


@dataclass(frozen=True)
class Made:
    """Something that another person made: the words by which the page shows it, and its path in the API."""

    text: str
    path: str = ""


Make = Callable[[World, int], Awaitable[Made]]
Act = Callable[[World, Desk, Made], Awaitable[None]]


@dataclass(frozen=True)
class Row:
    """One page: ``make`` is done by others, first before it is opened and then while it is; ``act`` by a mouse."""

    make: Make
    act: Act
    query: str = ""
    """The filter under which what was made is on the first page."""
    opens: bool = True
    """Whether a row leads to a record."""


async def open_record(desk: Desk, made: Made) -> None:
    """Go to the page of what was made, by its link."""
    await desk.page.click(f"#rows tr:has-text('{made.text}') a >> nth=0")
    await desk.page.wait_for_selector("main h1")
    await desk.page.wait_for_selector(".crumbs")


async def press(desk: Desk, label: str, within: str = "main", *, said: str = "text=Done.", **typed: str) -> None:
    """Press a button, fill in its form, and wait for what is said then."""
    await desk.page.click(f"{within} a.button:text-is('{label}')")
    await desk.page.wait_for_selector("dialog[open] form")
    for name, value in typed.items():
        place = desk.page.locator(f"dialog [name='{name}']")
        if await place.evaluate("each => each.tagName") == "SELECT":
            await place.select_option(value)
        elif await place.get_attribute("type") == "checkbox":
            await place.check()
        else:
            await place.fill(value)
    await desk.page.click(f"dialog .buttons button:text-is('{label}')")
    await desk.page.wait_for_selector(said)


def pressing(label: str, check: Callable[[Any], bool], *, at: str = "record", **typed: str) -> Act:
    """Return the act of one button of a record (or of its row in the table), and what the API must say of it then."""

    async def act(world: World, desk: Desk, made: Made) -> None:
        if at == "record":
            await open_record(desk, made)
            await press(desk, label, **typed)
        else:
            await press(desk, label, f"#rows tr:has-text('{made.text}')", **typed)
        document = await world.send("GET", made.path)
        assert check(document), document

    return act


def deleting(label: str = "Delete") -> Act:
    """Return the act of removing something."""

    async def act(world: World, desk: Desk, made: Made) -> None:
        await open_record(desk, made)
        await press(desk, label)
        assert (await world.admin.get(made.path)).status_code == 404

    return act


def editing(member: str, value: Any) -> Act:
    """Return the act of changing one member in the definition, after a look at what would change."""

    async def act(world: World, desk: Desk, made: Made) -> None:
        await open_record(desk, made)
        await desk.page.click("main a.button:text-is('Edit')")
        place = "dialog [name=_definition]"
        await desk.page.wait_for_selector(place)
        definition = json.loads(await desk.page.input_value(place))
        await desk.page.fill(place, json.dumps(definition | {member: value}))
        await desk.page.click("dialog button:text-is('Preview')")
        await desk.page.wait_for_selector("text=This would change")
        await desk.page.click("form.action .buttons button:text-is('Edit')")
        await desk.page.wait_for_selector("text=Done.")
        found = await world.send("GET", made.path)
        assert found[member] == value, found

    return act


def registry(stem: str, path: str, act: Act, /, **body: Any) -> Row:
    """Return the row of a registry: its records are put under keys of the stem."""

    async def make(world: World, n: int) -> Made:
        at = f"{path}/{stem}-{n}"
        await world.send("PUT", at, body)
        world.gone.append(at)
        return Made(f"{stem}-{n}", at)

    return Row(make, act, f"?q={stem}")


def posted(
    path: str, text: str, act: Act, /, *, query: str = "", key: str = "id", opens: bool = True, **body: Any
) -> Row:
    """Return the row of a list that is posted to; ``{n}`` in values is the number of what is made."""

    async def make(world: World, n: int) -> Made:
        numbered = json.loads(json.dumps(body).replace("{n}", str(n)))
        made = await world.send("POST", path, numbered)
        at = f"{path}/{made[key]}"
        world.gone.append(at)
        return Made(text.replace("{n}", str(n)), at)

    return Row(make, act, query, opens)


def narrowing(name: str, kept: str, left: str) -> Act:
    """Return the act of a list that is only read: its filter, which lasts in the address."""

    async def act(_world: World, desk: Desk, _made: Made) -> None:
        await desk.page.fill(f".filters [name='{name}']", kept)
        await desk.page.wait_for_url(f"**{name}=*")
        await desk.page.wait_for_selector(f"#rows tr:has-text('{kept}')")
        await desk.page.wait_for_selector(f"#rows:not(:has-text('{left}'))")
        await desk.page.reload()
        assert await desk.page.locator(f"#rows tr:has-text('{kept}')").count() > 0
        assert await desk.page.locator(f"#rows tr:has-text('{left}')").count() == 0

    return act


def looking(text: str) -> Act:
    """Return the act of a list that is only read: its records are opened by keys."""

    async def act(_world: World, desk: Desk, made: Made) -> None:
        for _ in range(50):
            await desk.page.keyboard.press("j")
            # the requests of this very page are traced, too
            if made.text in await desk.page.evaluate("document.activeElement.textContent"):
                break
        await desk.page.keyboard.press("Enter")
        await desk.page.wait_for_selector(".crumbs")
        main = await desk.page.inner_text("main")
        assert text.lower() in main.lower(), (made, main)

    return act


def sheet(text: str) -> Act:
    """Return the act of a list that is only read: it is taken away as CSV."""

    async def act(_world: World, desk: Desk, _made: Made) -> None:
        async with desk.page.expect_download() as waiting:
            await desk.page.click("a.button:text-is('CSV')")
        path = await (await waiting.value).path()
        assert text in path.read_text()

    return act
