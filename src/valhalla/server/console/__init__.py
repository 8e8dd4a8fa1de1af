"""The console: pages over the API for people."""

from valhalla.server.console.console import PREFIX, Console
from valhalla.server.console.pages import PAGES
from valhalla.server.console.sessions import Sessions

__all__ = ["PAGES", "PREFIX", "Console", "Sessions"]
