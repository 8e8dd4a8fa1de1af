"""The documentation as a site: it builds without a broken link, and nothing of it is loaded from elsewhere."""

from __future__ import annotations

import os
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_LOADS = {"script": "src", "img": "src", "iframe": "src", "link": "href", "source": "src", "video": "src"}


def loaded(page: str) -> list[str]:
    """Return what a browser fetches for a page by itself."""
    found: list[str] = []

    def start(tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        # these lead somewhere, they load nothing
        if tag == "link" and given.get("rel") in ("canonical", "next", "prev", "edit", "alternate"):
            return
        found.append(given.get(_LOADS.get(tag, "")) or "")

    parser = HTMLParser()
    parser.handle_starttag = start  # type: ignore[method-assign]
    parser.feed(page)
    return [each for each in found if each]


def test_what_would_be_loaded_is_found() -> None:
    page = '<link rel="stylesheet" href="https://a/x.css"><a href="https://b"></a><script src="y.js"></script>'
    assert loaded(page) == ["https://a/x.css", "y.js"]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_site_builds_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs")
    pytest.importorskip("mkdocstrings")
    built = subprocess.run(
        [Path(sys.executable).parent / "mkdocs", "build", "--strict", "--site-dir", tmp_path / "site"],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr[-4000:]
    pages = list((tmp_path / "site").rglob("*.html"))
    assert {"index.html", "tutorial.html"} <= {page.name for page in pages}
    foreign = {(page.name, each) for page in pages for each in loaded(page.read_text()) if "//" in each[:8]}
    assert foreign == set()
    http = (tmp_path / "site" / "reference" / "http.html").read_text()
    assert "/api/sandboxes" in http
    assert "valhalla sandbox new" in (tmp_path / "site" / "reference" / "cli.html").read_text()
