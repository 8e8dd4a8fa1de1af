"""Templates into answers, with the headers that keep a page from running or loading anything of others."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader
from starlette.responses import HTMLResponse, Response

from valhalla.server.console import drawing, showing
from valhalla.server.console.flag_editor.words import in_words
from valhalla.version import VERSION

_HERE: Final = Path(__file__).parent
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    # what a key may see is not for the next person at the same machine
    "Cache-Control": "no-store",
}
_TYPES: Final = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}


class Assets:
    """The files that pages load, from memory; their addresses name the release's content, so they are kept for long."""

    def __init__(self) -> None:
        self._files: dict[str, tuple[bytes, bytes, str]] = {}
        whole = sha256()
        for folder in ("static", "vendor"):
            for file in sorted((_HERE / folder).iterdir()):
                if (kind := _TYPES.get(file.suffix)) is not None:
                    content = file.read_bytes()
                    self._files[file.name] = content, gzip.compress(content, 9, mtime=0), kind
                    whole.update(content)
        self.mark = whole.hexdigest()[:12]

    def answer(self, mark: str, name: str, *, zipped: bool) -> Response | None:
        """Return a file, ``zipped`` for who takes that; None for one that there is not."""
        found = self._files.get(name)
        if found is None:
            return None
        age = "public, max-age=31536000, immutable" if mark == self.mark else "no-cache"
        content, smaller, kind = found
        headers = {**HEADERS, "Cache-Control": age, "Vary": "Accept-Encoding"}
        if zipped:
            headers["Content-Encoding"] = "gzip"
        return Response(smaller if zipped else content, media_type=f"{kind}; charset=utf-8", headers=headers)


class Pages:
    """Renders templates. Everything is escaped: there is no way here to say that something is markup already."""

    def __init__(self, assets: Assets) -> None:
        environment: Any = Environment(
            loader=FileSystemLoader(_HERE / "templates"),
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        environment.globals.update(
            mark=assets.mark,
            version=VERSION,
            cell=showing.cell,
            pick=showing.pick,
            form_of=showing.form_of,
            waterfall=drawing.waterfall,
            calendar=drawing.calendar,
            heat=drawing.heat,
            snippets=drawing.snippets,
            in_words=in_words,
        )
        environment.filters.update(pretty=showing.pretty, tone=showing.tone, duration=showing.duration)
        self._environment = environment

    def answer(
        self, template: str, status: int = 200, *, headers: Mapping[str, str] | None = None, **values: Any
    ) -> Response:
        """Return a page, or a part of one."""
        content = self._environment.get_template(template).render(values)
        return HTMLResponse(content, status, {**HEADERS, "Vary": "HX-Request", **(headers or {})})
