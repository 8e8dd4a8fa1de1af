"""What each command prints, for people, for scripts and as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cli.calling import Result
from tests.cli.fake_plane import FakePlane, instant

Valhalla = Callable[..., Result]

DOCUMENTS = [
    ["sandbox", "new", "y"],
    ["sandbox", "new", "-n"],
    ["sandbox", "ls"],
    ["sandbox", "status", "x"],
    ["sandbox", "env", "x"],
    ["sandbox", "link", "x", "k:v"],
    ["sandbox", "unlink", "x", "k:v"],
    ["sandbox", "extend", "x", "24h"],
    ["sandbox", "audit", "x"],
    ["sandbox", "reap", "-n"],
    ["sandbox", "rm", "-y", "x"],
    ["sandbox", "upstream", "x"],
    ["sandbox", "discord-token", "x"],
    ["sandbox", "upstream", "x", "http://127.0.0.1:3000", "--own-host"],
    ["sandbox", "upstream", "x", "--rm"],
    ["ingress", "receiver", "ls"],
    ["key", "new", "--owner", "team-a", "--scope", "sandbox:write", "--expires-in", "30d"],
    ["key", "ls"],
    ["key", "revoke", "k1"],
    ["key", "rotate", "k1", "--grace", "24h"],
    ["key", "deactivate", "k1"],
    ["key", "activate", "k1"],
    ["limit", "ls"],
    ["limit", "get", "per-key"],
    ["limit", "set", "per-key", "enabled=false", "--reason", "x"],
    ["limit", "set", "per-key", "rate=5/min", "--dry-run"],
    ["limit", "rm", "per-key"],
    ["limit", "history"],
    ["limit", "diff", "3"],
    ["limit", "rollback", "3"],
    ["limit", "usage"],
    ["hold", "ls"],
    ["hold", "show", "h1"],
    ["hold", "approve", "h1", "--reason", "seen"],
    ["hold", "deny", "h1"],
    ["hold", "cancel", "h1"],
    ["alert", "ls"],
    ["alert", "show", "a1"],
    ["alert", "ack", "a1", "--note", "on it"],
    ["alert", "resolve", "a1", "a2"],
    ["alert", "silence", "a1", "--for", "2h", "--reason", "planned"],
    ["maintenance", "status"],
    ["maintenance", "set", "read_only", "--reason", "x", "--for", "30m"],
    ["maintenance", "preview", "--start", "2026-12-06T02:00", "--end", "2026-12-06T04:00"],
    ["maintenance", "window", "ls"],
    ["person", "ls"],
    ["graphql", "{ flags { next } }", "--var", "n=2"],
    ["policy", "ls"],
    ["policy", "usage"],
    ["policy", "test", "/x", "--count", "failed_auth=3", "--scope", "sandbox:read", "--when", "true"],
    ["security", "mode"],
    ["security", "mode", "elevated", "--reason", "x", "--for", "30m"],
    ["honeypot", "ls"],
    ["honeypot", "new", "h", "--type", "cowrie"],
    ["honeypot", "rotate", "h", "--grace", "1h"],
    ["honeypot", "off", "h"],
    ["honeypot", "on", "h"],
    ["honeypot", "events", "--limit", "5"],
    ["honeypot", "activity"],
    ["honeypot", "decoy", "ls"],
    ["honeypot", "decoy", "key", "bait"],
    ["events"],
    ["routes", "ls"],
    ["routes", "match", "GET", "/api/sandboxes"],
    ["routes", "changes"],
    ["admin", "status"],
    ["admin", "actions"],
    ["admin", "handouts"],
    ["admin", "take", "op4x9k2m1n8b7c6d"],
    ["admin", "do", "key.revoke", "id=k1", "--reason", "it leaked", "-n"],
    ["admin", "log"],
    ["ledger", "ls"],
    ["ledger", "verify"],
    ["info"],
    ["status"],
    ["doctor"],
]


@pytest.mark.parametrize("words", DOCUMENTS, ids=" ".join)
@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
def test_json_is_one_document(
    plane: FakePlane, data_dir: Path, valhalla: Valhalla, words: list[str], before: bool
) -> None:
    plane.add("x")
    _head, *_rest = words

    at = 0 if before else min(2, len(words))
    result = valhalla(*words[:at], "--json", *words[at:])

    assert result.code == 0, result.err
    assert isinstance(json.loads(result.out), dict)


@pytest.mark.parametrize("words", DOCUMENTS, ids=" ".join)
def test_text_has_no_colour_off_a_terminal(
    plane: FakePlane, data_dir: Path, valhalla: Valhalla, words: list[str]
) -> None:
    plane.add("x")

    result = valhalla(*words)

    assert result.code == 0
    assert "\x1b" not in result.out + result.err
    assert result.out


def test_new(plane: FakePlane, data_dir: Path, valhalla: Valhalla) -> None:
    result = valhalla(
        *["sandbox", "new", "try-it", "--ttl", "90m", "--tag", "a", "--tag", "b", "--meta", "k=v=w", "--owner", "ada"],
        *["--route", "discord.guild:12:34", "--description", "d", "--template", "empty", "--key", "once"],
    )

    _, _, _, body, headers = plane.seen[-1]
    assert headers["Idempotency-Key"] == "once"
    assert (body["ttl"], body["owner"], body["description"]) == ("90m", "ada", "d")
    assert result.out.startswith("Made try-it\n")
    assert 'eval "$(valhalla sandbox env try-it)"' in result.out
    made = plane.sandboxes["s000000000000001"]
    assert made["routes"] == [{"kind": "discord.guild", "key": "12:34"}]
    assert (made["tags"], made["metadata"], made["template"]) == (["a", "b"], {"k": "v=w"}, "empty")


def test_new_with_slices(plane: FakePlane, data_dir: Path, valhalla: Valhalla) -> None:
    valhalla("sandbox", "new", "--slices", "postgres, sqlite")
    assert plane.seen[-1][3]["slices"] == ["postgres", "sqlite"]
    valhalla("sandbox", "new")
    assert "slices" not in (plane.seen[-1][3] or {})
    assert valhalla("sandbox", "new", "--slices", "postgres,").code == 2


def test_new_quietly_and_as_json(plane: FakePlane, data_dir: Path, valhalla: Valhalla) -> None:
    assert valhalla("sandbox", "create", "-q").out == "ada-brave-otter\n"

    document = json.loads(valhalla("sandbox", "new", "b", "--json").out)
    assert document.keys() >= {"id", "name", "owner", "status", "expires_at", "connection"}


def test_the_hint_names_the_same_data_directory(data_dir: Path, valhalla: Valhalla) -> None:
    out = valhalla("--data-dir", str(data_dir), "sandbox", "new").out

    assert f'eval "$(valhalla --data-dir {data_dir} sandbox env ada-brave-otter)"' in out


def test_ls(plane: FakePlane, data_dir: Path, valhalla: Valhalla) -> None:
    plane.add("a", routes=[{"kind": "discord.guild", "key": "1"}])
    plane.add("b", status="expired", expires_at=instant(minutes=-5), owner="bob")
    plane.add("gone", status="destroyed", destroyed_at=instant())

    lines = [line.split() for line in valhalla("sandbox", "ls").out.splitlines()]

    assert lines == [
        ["NAME", "STATUS", "OWNER", "EXPIRES", "ROUTES"],
        ["a", "running", "ada", "in", "3", "h", "discord.guild:1"],
        ["b", "expired", "bob", "5", "min", "ago"],
    ]
    assert valhalla("sandbox", "list", "-q").out == "a\nb\n"
    assert valhalla("sandbox", "ls", "-q", "-a").out == "a\nb\ngone\n"
    assert valhalla("sandbox", "ls", "-q", "-o", "bob").out == "b\n"
    assert valhalla("sandbox", "ls", "-q", "-s", "destroyed").out == "gone\n"


def test_ls_walks_the_pages(plane: FakePlane, data_dir: Path, valhalla: Valhalla) -> None:
    for number in range(130):
        plane.add(f"s{number}")

    assert len(valhalla("sandbox", "ls", "-q").out.splitlines()) == 130
    assert len(valhalla("sandbox", "ls", "-q", "--limit", "105").out.splitlines()) == 105
    assert "more than these 3" in valhalla("sandbox", "ls", "--limit", "3").err


def test_ls_of_nothing(data_dir: Path, valhalla: Valhalla) -> None:
    result = valhalla("sandbox", "ls")

    assert (result.code, result.out) == (0, "")
    assert "No sandboxes" in result.err


def test_status_watch_ends_with_the_sandbox(plane: FakePlane, data_dir: Path, valhalla: Valhalla) -> None:
    plane.add("x", status="destroying")
    plane.drops_late = True

    out = valhalla("sandbox", "status", "x", "--watch", "--interval", "0.1", "--json").out

    assert [json.loads(line)["status"] for line in out.splitlines()] == ["destroying", "destroyed"]


def test_extend_tells_the_cap(plane: FakePlane, data_dir: Path, valhalla: Valhalla) -> None:
    plane.add("x")
    plane.capped = True

    assert "That is the maximum" in valhalla("sandbox", "extend", "x", "7d").out


def test_a_broken_ledger_is_named(plane: FakePlane, data_dir: Path, valhalla: Valhalla) -> None:
    fault = {"kind": "altered", "seq": 2, "entry": 7, "detail": "the hash does not match"}
    plane.ledger |= {"ok": False, "fault": fault}

    result = valhalla("ledger", "verify")

    assert (result.code, result.out) == (1, "altered at 2 (entry 7): the hash does not match\n")
    assert valhalla("ledger", "verify", "--json").code == 1


def test_a_backend_that_is_down_is_named(plane: FakePlane, data_dir: Path, valhalla: Valhalla) -> None:
    checks = {"nats": {"ok": False, "latency_ms": 3000, "reason": "no answer", "help": "Start nats."}}
    plane.ready = {"status": "not-ready", "checks": checks}

    doctor = valhalla("doctor")

    assert doctor.code == 1
    assert "nats: Start nats." in doctor.out
    assert valhalla("status").code == 1


def test_doctor_when_nothing_runs(valhalla: Valhalla) -> None:
    result = valhalla("doctor")

    assert result.code == 1
    assert "valhalla up" in result.out
    assert "postgres binary" in result.out
    assert "NO-GO: control plane" in result.out


def test_doctor_says_go_from_evidence(plane: FakePlane, data_dir: Path, valhalla: Valhalla) -> None:
    well = {"ok": True, "latency_ms": 1.25, "reason": None, "help": None, "critical": True, "age_seconds": 0.5}
    plane.ready = {"status": "ready", "checks": {"nats": well}}

    result = valhalla("doctor")

    assert result.code == 0
    assert "GO: all is well" in result.out
    assert ("1.2 ms" in result.out, "0.5 s" in result.out) == (True, True)
    document = json.loads(valhalla("doctor", "--json").out)
    assert (document["verdict"], document["checks"]["nats"]["age_seconds"]) == ("GO", 0.5)


def test_a_key_is_printed_alone(plane: FakePlane, data_dir: Path, valhalla: Valhalla) -> None:
    result = valhalla("key", "new", "--owner", "team-a", "--scope", "sandbox:write")

    assert result.out == "vh_k1_secret\n"
    assert "not shown again" in result.err


def test_holds_say_whose_approval_they_wait_for(plane: FakePlane, data_dir: Path, valhalla: Valhalla) -> None:
    assert "1 of finance" in valhalla("hold", "ls").out
    assert valhalla("hold", "approve", "h1").out == "approved: h1\n"
    assert '"cents": 500' in valhalla("hold", "show", "h1").out


def test_info_knows_the_admin_key_file(data_dir: Path, plane: FakePlane, valhalla: Valhalla) -> None:
    document = json.loads(valhalla("info", "--json").out)

    assert document["url"] == plane.url
    assert document["admin_key_file"] == str(data_dir / "admin.key")
    assert document["data_dir"] == str(data_dir)
