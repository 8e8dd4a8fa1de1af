"""What the site has that no file of docs/ holds: the HTTP API from its own description, and links out of docs/."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

REPOSITORY = Path(__file__).parents[1]
_OUT = re.compile(r"\[([^\]]+)\]\((?:\.\./)+(?!adr)([^)#]+)(#[^)]*)?\)")


def on_config(config: Any) -> Any:
    """Complete the navigation: every decision, and whatever page nobody has given a place yet."""
    named = set(re.findall(r"[\w/.-]+\.md", str(config["nav"])))
    folder = REPOSITORY / "docs"
    decisions = sorted(f"adr/{file.name}" for file in (folder / "adr").glob("0*.md"))
    more = sorted(file.name for file in folder.glob("*.md") if file.name not in named)
    for section in config["nav"]:
        if isinstance(section, dict) and "Explanation" in section:
            section["Explanation"][-1]["Decisions"] += decisions
        if isinstance(section, dict) and "How-to" in section and more:
            section["How-to"].append({"More": more})
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the page of the HTTP API."""
    files.append(File.generated(config, "reference/http.md", content=http_page()))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turn links to files of the repository into their names: the site does not hold them."""

    def name(found: re.Match[str]) -> str:
        target = found[0].partition("(")[2].rstrip(")").partition("#")[0]
        inside = (REPOSITORY / "docs" / page.file.src_uri).parent.joinpath(target).resolve()
        if inside.is_relative_to(REPOSITORY / "docs"):
            return found[0]
        return f"{found[1]} (`{found[2].strip()}`)"

    return _OUT.sub(name, markdown)


def http_page() -> str:
    """Return every route with its scope, parameters and answers."""
    description = openapi()
    lines = [
        "# HTTP routes",
        "",
        "Made from the OpenAPI document that a control plane answers at `/openapi.json`.",
        "What all of them have in common (keys, problems, paging, versions) is on [the page about the API](../api.md).",
        "",
    ]
    by_tag: dict[str, list[tuple[str, str, dict[str, Any]]]] = {}
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            if isinstance(operation, dict) and "responses" in operation:
                by_tag.setdefault((operation.get("tags") or ["system"])[0], []).append((path, method, operation))
    for tag, operations in by_tag.items():
        lines += [f"## {tag}", "", "| route | what it does | scope | parameters |", "| --- | --- | --- | --- |"]
        lines += [_row(path, method, operation) for path, method, operation in operations]
        lines.append("")
    return "\n".join(lines)


def openapi() -> dict[str, Any]:
    """Return the description; nothing is started for it."""
    from valhalla.embedded import Endpoints
    from valhalla.kit.cellkey import CellKey
    from valhalla.kit.settings import Settings
    from valhalla.runtime import Runtime
    from valhalla.server.app import application

    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(
            data_dir=Path(folder), database_url="postgresql://a:b@127.0.0.1:1/a", valkey_url="redis://a:b@127.0.0.1:1"
        )
        endpoints = Endpoints(nats_url="nats://127.0.0.1:1", nats_jwt_dir=Path(folder))
        return application(Runtime(settings, CellKey(bytes(32)), endpoints)).openapi()


def _row(path: str, method: str, operation: dict[str, Any]) -> str:
    security = operation.get("security") or []
    scope = ", ".join(f"`{each}`" for one in security for each in one.get("key", ())) or "none"
    first = (operation.get("description") or operation.get("summary") or "").partition("\n")[0]
    names = [f"`{each['name']}`" for each in operation.get("parameters", ()) if each["in"] == "query"]
    cells = (f"`{method.upper()} {path}`", first, scope, " ".join(names))
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
