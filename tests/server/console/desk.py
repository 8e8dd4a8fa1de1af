"""One page of a real browser, and what went wrong in it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any, Final

CHROMIUM: Final = shutil.which("chromium") or shutil.which("chromium-browser")
# where pictures go if they are wanted: VALHALLA_PICTURES=docs/img
_PICTURES: Final = os.environ.get("VALHALLA_PICTURES")
HOSTILE: Final = "<script>window.hurt=1</script><img src=x onerror=window.hurt=1>"


class Desk:
    """A page, with every error of its console and every request that left the site in ``faults``."""

    def __init__(self, page: Any, base: str) -> None:
        self.page = page
        self.base = base
        self.faults: list[str] = []
        page.on("console", self._told)
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("request", self._asked)

    async def open(self, path: str = "") -> Any:
        return await self.page.goto(f"{self.base}/console/{path}")

    async def sign_in(self, key: str) -> None:
        await self.open("login")
        await self.page.fill("#key", key)
        await self.page.keyboard.press("Enter")
        await self.page.wait_for_url("**/console/")

    def forgive(self, *words: str) -> None:
        """Forget faults that the test meant to bring about: the browser tells of refused forms, too."""
        self.faults = [fault for fault in self.faults if not any(word in fault for word in words)]

    async def picture(self, name: str) -> None:
        """Keep a picture of what is shown for the documentation, if pictures are wanted."""
        if _PICTURES:
            await self.page.mouse.move(0, 0)
            await self.page.screenshot(path=Path(_PICTURES) / f"console-{name}.png")

    async def grave(self) -> list[Any]:
        """What axe-core finds that keeps somebody from using the page."""
        from axe_playwright_python.async_playwright import Axe

        found = (await Axe().run(self.page)).response["violations"]
        grave = [each for each in found if each["impact"] in ("serious", "critical")]
        return [(each["id"], node["html"], node.get("failureSummary")) for each in grave for node in each["nodes"][:2]]

    async def too_wide(self) -> int:
        """How many pixels the page scrolls sideways."""
        root = "document.documentElement"
        return await self.page.evaluate(f"{root}.scrollWidth - {root}.clientWidth")

    def _told(self, message: Any) -> None:
        if message.type == "error":
            self.faults.append(message.text)

    def _asked(self, request: Any) -> None:
        if not request.url.startswith((self.base, "data:")):
            self.faults.append(f"asked {request.url}")
