"""What a page offers to copy beside its curl: the command of the CLI that asks the same, or none."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Final

_ALERTS: Final = "valhalla alert ls"
# what a filter is called there; a list with any other filter has no command
OPTIONS: Final[Mapping[str, Mapping[str, str]]] = {
    "valhalla sandbox ls": {name: name for name in ("owner", "status", "tag", "name")},
    "valhalla hold ls": {name: name for name in ("kind", "action", "requester")},
    "valhalla job ls": {name: name for name in ("status", "name", "queue")},
    "valhalla deployment ls": {name: name for name in ("environment", "service", "status")},
    "valhalla smoke runs": {name: name for name in ("suite", "status")},
    "valhalla routes ls": {"q": "search", **{name: name for name in ("method", "tag", "scope", "flag")}},
    _ALERTS: {name: name for name in ("status", "severity", "source", "text")},
    "valhalla logs": {
        "correlation_id": "correlation",
        **{name: name for name in ("level", "category", "text", "principal", "origin", "since")},
    },
    "valhalla ledger ls": {name: name for name in ("kind", "subject", "actor", "action")},
    "valhalla notify delivery ls": {name: name for name in ("channel", "status", "rule", "type")},
    "valhalla export list": {name: name for name in ("status", "source")},
}
# these have --search, and --where for every other filter
REGISTRIES: Final = frozenset(
    {
        "valhalla maintenance window ls",
        "valhalla flag ls",
        "valhalla config ls",
        "valhalla limit ls",
        "valhalla person ls",
        "valhalla smoke ls",
        "valhalla policy ls",
        "valhalla block ls",
        "valhalla honeypot ls",
        "valhalla notify channel ls",
        "valhalla notify rule ls",
        "valhalla notify template ls",
        "valhalla legal-hold ls",
    }
)


def listing(command: str, chosen: Mapping[str, str]) -> str:
    """Return the command that lists what the filters leave; none where it cannot say one of them."""
    if command == _ALERTS:
        # without --status it lists what is not over, with one it lists those, over or not
        if ("status" in chosen) == (chosen.get("unresolved") == "true"):
            return ""
        chosen = {name: value for name, value in chosen.items() if name != "unresolved"}
    words: list[str] = []
    for name, value in chosen.items():
        option = _option(command, name)
        if option is None or not value.isprintable():
            return ""
        words.append(shlex.quote(option + value))
    return " ".join([command, *words]) if command else ""


def _option(command: str, name: str) -> str | None:
    if command in REGISTRIES:
        return "--search=" if name == "q" else f"--where={name}="
    option = OPTIONS.get(command, {}).get(name)
    return None if option is None else f"--{option}="


def one(command: str, key: str) -> str:
    """Return the command that shows a record, whatever its key is; none for a key that a terminal would act on."""
    if not command or not key.isprintable():
        return ""
    # behind a dash would follow an option, such as another server to send the key to
    return f"{command} {'-- ' if key.startswith('-') else ''}{shlex.quote(key)}"
