"""The same calls to Debian's own LAPI and to ours. Where ours differs on purpose, the test says so."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from tests.server.conftest import Issue
from tests.server.crowdsec.calls import Caller, alert, ban
from tests.server.crowdsec.debian import KEY, PASSWORD, needs, oracle
from tests.server.plane import Plane
from tests.server.serving import serving

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300), needs("crowdsec", "cscli")]

FILTERS: Final[Mapping[str, Mapping[str, str]]] = {
    "all": {},
    "address": {"ip": "192.0.2.9"},
    "inside a range": {"ip": "192.0.2.70"},
    "a range as address": {"ip": "192.0.2.64/26"},
    "range": {"range": "192.0.2.64/27"},
    "around nothing": {"range": "192.0.2.0/24"},
    "within": {"range": "192.0.2.0/24", "contains": "false"},
    "address as range": {"range": "192.0.2.9"},
    "nobody": {"ip": "2001:db8::1"},
    "scopes": {"scopes": "Range,country"},
    "type": {"type": "captcha"},
    "no such type": {"type": "ban,captcha"},
    "value": {"value": "192.0.2.9"},
    "origins": {"origins": "lists"},
    "containing": {"scenarios_containing": "other"},
    "containing one of": {"scenarios_containing": "other,ssh"},
    "not containing": {"scenarios_not_containing": "other"},
    "unknown to both": {"colour": "red"},
}
STREAMS: Final[Mapping[str, Mapping[str, str]]] = {
    "start": {"startup": "true"},
    "start of all scopes": {"startup": "true", "scopes": "ip,range,country,as"},
    "start of origins": {"startup": "true", "origins": "lists"},
    "start without": {"startup": "true", "scenarios_not_containing": "other"},
}
ALERTS: Final[Mapping[str, Mapping[str, str]]] = {
    "all": {},
    "ip": {"ip": "192.0.2.9"},
    "range": {"range": "192.0.2.64/26"},
    "within": {"range": "192.0.2.8/30", "contains": "false"},
    "scope": {"scope": "Country"},
    "limit": {"limit": "1"},
    "since": {"since": "1h"},
    "active": {"has_active_decision": "true", "simulated": "false"},
    "inactive": {"has_active_decision": "false", "simulated": "false"},
    "not simulated": {"simulated": "false"},
    "decision type": {"decision_type": "captcha"},
    "origin": {"origin": "lists"},
}
REFUSED: Final[tuple[tuple[str, str, str, Mapping[str, str]], ...]] = (
    ("bouncer", "GET", "/v1/decisions", {"ip": "nonsense"}),
    ("bouncer", "GET", "/v1/decisions", {"range": "192.0.2.0/99"}),
    ("bouncer", "GET", "/v1/decisions", {"ip": "192.0.2.9", "contains": "maybe"}),
    ("agent", "GET", "/v1/alerts", {"colour": "red"}),
    ("agent", "GET", "/v1/alerts", {"since": "yesterday"}),
    ("agent", "GET", "/v1/alerts", {"has_active_decision": "maybe"}),
    ("agent", "GET", "/v1/alerts", {"ip": "nonsense"}),
    ("agent", "GET", "/v1/alerts/nonsense", {}),
    ("agent", "GET", "/v1/alerts/99999", {}),
    ("agent", "DELETE", "/v1/alerts", {"colour": "red"}),
    ("agent", "DELETE", "/v1/decisions", {"colour": "red"}),
    ("agent", "DELETE", "/v1/decisions", {"ip": "nonsense"}),
    ("agent", "DELETE", "/v1/decisions/nonsense", {}),
    ("agent", "DELETE", "/v1/decisions/99999", {}),
)


async def follow(each: Caller) -> None:
    """What bouncers and agents do, step by step."""
    await each.bouncer("nothing yet", "/v1/decisions")
    await each.bouncer("nothing to start", "/v1/decisions/stream", startup="true")
    await each.bouncer("nothing new", "/v1/decisions/stream", startup="false")
    await each.agent("report", "POST", "/v1/alerts", [alert(ban("192.0.2.9"))])
    await each.bouncer("what is new", "/v1/decisions/stream")
    captcha = ban("192.0.2.64/26", "Range", type="captcha", origin="lists", scenario="other/thing")
    from_range: dict[str, Any] = {"source": {"scope": "Range", "value": "192.0.2.64/26", "range": "192.0.2.64/26"}}
    from_country: dict[str, Any] = {"source": {"scope": "Country", "value": "KP"}}
    reported = [alert(captcha, **from_range), alert(ban("KP", "Country"), ban("64500", "AS"), **from_country)]
    numbers = (await each.agent("report many", "POST", "/v1/alerts", reported)).json()
    # an agent decides nothing: the profiles of the LAPI do
    await each.agent("to be blocked", "POST", "/v1/alerts", [alert(value="192.0.2.11", remediation=True)])
    await each.agent("only seen", "POST", "/v1/alerts", [alert(value="192.0.2.12")])
    simulated = alert(value="192.0.2.13", remediation=True, simulated=True)
    await each.agent("simulated", "POST", "/v1/alerts", [simulated])
    own = alert(ban("192.0.2.99", duration="9h1m"), value="192.0.2.14", remediation=True)
    await each.agent("decided", "POST", "/v1/alerts", [own])
    for name, query in FILTERS.items():
        await each.bouncer(f"decisions: {name}", "/v1/decisions", **query)
    await each.bouncer("look at decisions", "/v1/decisions", "HEAD")
    await each.bouncer("look at the stream", "/v1/decisions/stream", "HEAD")
    for name, query in STREAMS.items():
        await each.bouncer(f"stream: {name}", "/v1/decisions/stream", **query)
    await each.agent("shorter", "POST", "/v1/alerts", [alert(ban("192.0.2.9", duration="1h10m"))])
    await each.bouncer("nothing shorter", "/v1/decisions/stream")
    await each.agent("longer", "POST", "/v1/alerts", [alert(ban("192.0.2.9", duration="8h10m"))])
    await each.bouncer("longer is new", "/v1/decisions/stream")
    await each.bouncer("the longest only", "/v1/decisions/stream", startup="true")
    for name, query in ALERTS.items():
        await each.agent(f"alerts: {name}", "GET", "/v1/alerts", **query)
    await each.agent("one alert", "GET", f"/v1/alerts/{numbers[0]}")
    await each.agent("look at an alert", "HEAD", f"/v1/alerts/{numbers[0]}")
    await each.agent("heartbeat", "GET", "/v1/heartbeat")
    await each.agent("another hour", "GET", "/v1/refresh_token")
    await each.agent("take back by type", "DELETE", "/v1/decisions", type="captcha")
    await each.bouncer("taken back", "/v1/decisions/stream")
    await each.agent("take back nothing", "DELETE", "/v1/decisions", value="nothing")
    (mine,) = (await each.bouncer("mine", "/v1/decisions", value="192.0.2.99")).json()
    await each.agent("take one back", "DELETE", f"/v1/decisions/{mine['id']}")
    await each.bouncer("it is gone", "/v1/decisions", value="192.0.2.99")
    await each.agent("report nothing", "POST", "/v1/alerts", [])
    await each.agent("forget one", "DELETE", f"/v1/alerts/{numbers[0]}")
    await each.agent("forget by scope", "DELETE", "/v1/alerts", scope="Country")
    await each.bouncer("what they blocked is gone", "/v1/decisions", scopes="country,as")
    twice = [alert(ban("192.0.2.201"), value="192.0.2.201"), alert(ban("192.0.2.201"), value="192.0.2.201")]
    first, second = (await each.agent("report twice", "POST", "/v1/alerts", twice)).json()
    await each.agent("forget the first", "DELETE", f"/v1/alerts/{first}")
    await each.bouncer("the second holds", "/v1/decisions", value="192.0.2.201")
    await each.agent("forget the second", "DELETE", f"/v1/alerts/{second}")
    await each.bouncer("nothing holds", "/v1/decisions", value="192.0.2.201")
    await each.bouncer("told of what was forgotten", "/v1/decisions/stream")
    # within a range that another alert blocked: with it
    around = alert(ban("192.0.2.208/28", "Range"), source={"scope": "Range", "value": "192.0.2.208/28"})
    await each.agent("report around", "POST", "/v1/alerts", [around, alert(ban("192.0.2.210"), value="192.0.2.210")])
    await each.agent("forget around", "DELETE", "/v1/alerts", ip="192.0.2.210")
    await each.bouncer("nothing around", "/v1/decisions", ip="192.0.2.210")
    for number, (who, method, path, query) in enumerate(REFUSED):
        if who == "agent":
            await each.agent(f"refused {number}", method, path, **query)
        else:
            await each.bouncer(f"refused {number}", path, method, **query)


def agreed(name: str, answer: Any) -> Any:
    """Return an answer without that in which the two differ on purpose."""
    status, body = answer
    if name.startswith("refused"):
        # theirs are 500 for what is the caller's mistake; the texts are for people
        return status >= 400, isinstance(body, dict) and isinstance(body.get("message"), str)
    if name.startswith(("alerts:", "one alert")):
        found = [body] if isinstance(body, dict) else body or []
        return status, sorted(sorted(_members(one).items()) for one in found)
    if name == "told of what was forgotten":
        # theirs says nothing: their bouncers go on blocking until it would have ended; ours are told
        return status, None
    return status, body


def _members(one: Mapping[str, Any]) -> dict[str, Any]:
    # we know one decision per address, the strongest, and forget it when it is taken back; theirs of agents are
    # also told with times in another form
    same = ("scenario", "scenario_hash", "scenario_version", "message", "events_count", "capacity", "leakspeed")
    return {name: repr(one[name]) for name in (*same, "simulated", "source", "id", "machine_id", "created_at")}


async def test_ours_answers_as_debians_does(
    plane: Plane,
    issue: Issue,
    rules: str,
    tmp_path: Path,
) -> None:
    key, password = (await issue("bouncers", "bouncer"))["key"], (await issue("agents", "blocklist:write"))["key"]
    async with (
        oracle(tmp_path) as url,
        serving(plane.app) as place,
        httpx.AsyncClient(base_url=url) as there,
        httpx.AsyncClient(base_url=f"http://{place}") as here,
    ):
        theirs, ours = Caller(there, KEY, PASSWORD), Caller(here, key, password)
        for each in (theirs, ours):
            await each.log_in()
            # what tests before this one have left
            await each.agent("forget all", "DELETE", "/v1/alerts")
            each.answers.clear()
            await follow(each)
        for client in (there, here):
            for method, path, status in (
                ("GET", "/v1/decisions", 403),
                ("HEAD", "/v1/decisions/stream", 403),
                ("DELETE", "/v1/decisions", 401),
                ("GET", "/v1/alerts", 401),
                ("POST", "/v1/alerts", 401),
                ("GET", "/v1/heartbeat", 401),
                ("POST", "/v1/decisions", 405),
            ):
                assert (await client.request(method, path)).status_code == status, (client.base_url, method, path)
            wrong = await client.post("/v1/watchers/login", json={"machine_id": "x", "password": "y"})
            assert (wrong.status_code, wrong.json()["code"]) == (401, 401)
    assert theirs.answers.keys() == ours.answers.keys()
    different = [
        f"{name}\n  theirs {agreed(name, theirs.answers[name])}\n  ours   {agreed(name, ours.answers[name])}"
        for name in theirs.answers
        if agreed(name, theirs.answers[name]) != agreed(name, ours.answers[name])
    ]
    if different:
        pytest.fail("\n".join(different), pytrace=False)
    assert all(400 <= answer.status < 500 for name, answer in ours.answers.items() if name.startswith("refused"))
