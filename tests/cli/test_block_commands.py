"""``valhalla block``: what it asks, and how it shows it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from tests.cli.calling import Result
from tests.cli.fake_plane import FakePlane

Valhalla = Callable[..., Result]
ROOT = "/system/security/blocklist"
RULE = {"key": "cidr:203.0.113.0/24", "action": "block", "type": "cidr", "value": "203.0.113.0/24"}
IMPACT = {
    "blocked": 14,
    "of": 10_000,
    "with_key": 2,
    "paths": ["/\x1b[31m"],
    "owners": ["acme"],
    "summary": "14 of 10000",
}
DONE = {"rules": 1, "added": 1, "changed": 0, "unchanged": 0, "removed": 0, "rejected": 0, "rejections": []}


def test_what_an_address_is_need_not_be_said(plane: FakePlane, data_dir: Path, valhalla: Valhalla) -> None:
    plane.script = [(201, RULE), (200, {"items": [RULE]}), (200, {**IMPACT})]
    added = valhalla("block", "add", "203.0.113.0/24", "--reason", "x", "--json")
    assert added.code == 0, added.err
    assert json.loads(added.out)["key"] == RULE["key"]
    method, path, _, body = plane.seen[0][:4]
    assert (method, path) == ("POST", ROOT)
    assert body == {"type": "cidr", "value": "203.0.113.0/24", "action": "block", "reason": "x"}
    assert "removed" in valhalla("block", "remove", "203.0.113.0/24").out
    assert plane.seen[1][:2] == ("POST", f"{ROOT}/unblock")
    tried = valhalla("block", "test", "203.0.113.7")
    assert "14 of 10000" in tried.out
    assert "\x1b" not in tried.out
    assert plane.seen[2][3] == {"rules": [{"type": "ip", "value": "203.0.113.7"}]}
    refused = valhalla("block", "add", "sqlmap")
    assert refused.code == 2
    assert "--type" in refused.err


def test_a_long_list_is_sent_in_parts(plane: FakePlane, data_dir: Path, valhalla: Valhalla, tmp_path: Path) -> None:
    file = tmp_path / "list.txt"
    file.write_text("".join(f"10.{n // 65536}.{n // 256 % 256}.{n % 256}\n" for n in range(10_001)))
    plane.script = [(200, {**DONE, "added": 10_000}), (200, DONE)]
    done = valhalla("block", "import", str(file), "--source", "lists:x", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["added"] == 10_001
    assert [seen[:2] for seen in plane.seen] == [("POST", f"{ROOT}/import")] * 2
    assert valhalla("block", "import", str(file), "--replace").code == 2
