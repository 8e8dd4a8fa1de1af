"""The usage of several processes as one. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

_SUMS: Final = ("taken", "refused", "shadowed")


def merged(own: Mapping[str, Any], others: Iterable[Mapping[str, Any]], top: int) -> Mapping[str, Any]:
    """Return the members of ``UsageOut``: sums over processes, of the rules that are known here."""
    items: dict[str, dict[str, Any]] = {one["name"]: {**one} for one in own["items"]}
    talkers: dict[str, dict[str, list[int]]] = {name: {} for name in items}
    buckets, processes = own["buckets"], 1
    for name, one in items.items():
        _add(talkers[name], one["top"])
    for usage in others:
        try:
            for one in usage["items"]:
                if (mine := items.get(one["name"])) is not None:
                    _add(talkers[one["name"]], one["top"])
                    for member in _SUMS:
                        mine[member] += int(one[member])
            buckets += int(usage["buckets"])
        except (KeyError, TypeError, ValueError):
            # of another release
            continue
        processes += 1
    for name, one in items.items():
        most = sorted(talkers[name].items(), key=lambda pair: (-sum(pair[1]), pair[0]))[:top]
        one["top"] = [{"subject": subject, "taken": taken, "refused": refused} for subject, (taken, refused) in most]
    return {"items": list(items.values()), "buckets": buckets, "processes": processes}


def _add(talkers: dict[str, list[int]], top: Iterable[Mapping[str, Any]]) -> None:
    for one in top:
        found = talkers.setdefault(str(one["subject"]), [0, 0])
        found[0] += int(one["taken"])
        found[1] += int(one["refused"])
