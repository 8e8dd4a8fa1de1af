"""A flag is edited in a real browser: rules, shares by slider with who gets what, JSON, history and back."""

from __future__ import annotations

import httpx
import pytest
from tests.server.console.desk import HOSTILE, Desk

pytestmark = pytest.mark.slow
FLAG = "browser-checkout"
SPLIT = {"fractional": [["on", 10], ["off", 90]]}


@pytest.fixture
async def flag(admin: httpx.AsyncClient) -> str:
    body = {"variants": {"on": True, "off": False}, "defaultVariant": "off", "targeting": SPLIT, "owner": HOSTILE[:100]}
    answer = await admin.put(f"/system/flags/{FLAG}", json=body)
    assert answer.status_code in (200, 201), answer.text
    return FLAG


@pytest.mark.timeout(180)
async def test_rules_are_made_tried_saved_and_taken_back(desk: Desk, admin: httpx.AsyncClient, flag: str) -> None:
    page = desk.page
    await desk.open(f"flags/{flag}")
    assert "10 % on, 90 % off" in await page.inner_text("main")
    await page.click("a:text-is('Edit')")
    await page.wait_for_selector("#outcome td:has-text('on')")
    # a rule of two conditions
    await page.click("button:has-text('Add a rule')")
    await page.fill("[name=r0-c0-a]", "email")
    await page.select_option("[name=r0-c0-o]", "ends_with")
    await page.wait_for_selector("[name=r0-c0-o] >> nth=0")
    await page.fill("[name=r0-c0-a]", "email")
    await page.fill("[name=r0-c0-v]", "@example.com")
    await page.click("button:has-text('And…')")
    await page.fill("[name=r0-c1-a]", "plan")
    await page.fill("[name=r0-c1-v]", "pro")
    await page.select_option("[name=r0-serve]", "v:on")
    # the share of everybody else by the slider's keys
    slider = page.locator("[name=else-w0]")
    await slider.focus()
    for _ in range(15):
        await page.keyboard.press("ArrowRight")
    await page.wait_for_selector("#outcome:has-text('go from off to on')")
    assert await page.inner_text("[data-rest]") == "75"
    await page.fill("#context", '{"targetingKey": "u", "email": "a@example.com", "plan": "pro"}')
    await page.wait_for_selector("#outcome p:has-text('The context gets on')")
    assert await desk.grave() == []
    await desk.picture("flag")
    # the other tab says the same
    await page.click("button:text-is('JSON')")
    assert '"ends_with"' in await page.input_value("#definition")
    await page.click("button:text-is('Rules')")
    await page.fill("#reason", "a quarter")
    await page.click("button:text-is('Save')")
    await page.wait_for_selector("text=Done.")
    stored = (await admin.get(f"/system/flags/{flag}")).json()
    assert stored["targeting"]["if"] == [
        {"and": [{"ends_with": [{"var": "email"}, "@example.com"]}, {"==": [{"var": "plan"}, "pro"]}]},
        "on",
        {"fractional": [["on", 25], ["off", 75]]},
    ]
    # what changed is in the history, from where it is taken back
    await page.click("a:text-is('History')")
    await page.click("a:has-text('Roll back to here') >> nth=1")
    await page.click("dialog button:has-text('Roll back')")
    await page.wait_for_selector("text=Done.")
    assert (await admin.get(f"/system/flags/{flag}")).json()["targeting"] == SPLIT
    assert await page.evaluate("window.hurt") is None


async def test_what_cannot_be_meant_is_not_saved(desk: Desk, admin: httpx.AsyncClient, flag: str) -> None:
    page = desk.page
    await desk.open(f"do/flags/edit?key={flag}")
    await page.click("button:text-is('JSON')")
    await page.fill("#definition", '{"variants": {"on": true}, "targeting": {"matches": [1]}}')
    await page.wait_for_selector("#outcome .problem:has-text('unknown')")
    await page.click("button:text-is('Save')")
    await page.wait_for_selector("#outcome .problem")
    await page.fill("#definition", "{")
    await page.click("button:text-is('Save')")
    await page.wait_for_selector("#outcome .problem:has-text('no JSON')")
    assert await page.input_value("#definition") == "{"
    assert (await admin.get(f"/system/flags/{flag}")).json()["targeting"] == SPLIT
    # somebody else is faster
    await desk.open(f"do/flags/edit?key={flag}")
    await admin.patch(f"/system/flags/{flag}", json={"description": "mine"})
    await page.uncheck("[name=enabled]")
    await page.click("button:text-is('Save')")
    await page.wait_for_selector("#outcome .problem")
    assert (await admin.get(f"/system/flags/{flag}")).json()["state"] == "ENABLED"
    desk.forgive("422", "412")


@pytest.mark.parametrize("desk", [{"viewport": {"width": 360, "height": 740}, "color_scheme": "dark"}], indirect=True)
async def test_a_flag_is_made_on_a_phone(desk: Desk, admin: httpx.AsyncClient) -> None:
    page = desk.page
    await admin.delete("/system/flags/browser-new")
    await desk.open("flags")
    await page.click("a:has-text('New flag')")
    await page.fill("#key", "browser-new")
    await page.select_option("[name=else-serve]", "v:on")
    await page.wait_for_selector("[name=else-serve]")
    assert await desk.too_wide() <= 0
    assert await desk.grave() == []
    await page.click("button:text-is('Save')")
    await page.wait_for_selector("h1:has-text('browser-new')")
    assert (await admin.get("/system/flags/browser-new")).json()["targeting"] == {"if": [True, "on"]}
    await admin.delete("/system/flags/browser-new")


async def test_an_environment_and_a_step_have_forms(desk: Desk, admin: httpx.AsyncClient, flag: str) -> None:
    page = desk.page
    await desk.open(f"do/flags/edit?key={flag}")
    await page.fill("[name=new-environment]", "staging")
    await page.click("button:text-is('Add an environment')")
    await page.wait_for_selector("legend:text-is('in staging')")
    await page.select_option("[name=own]", "rules")
    await page.wait_for_selector("[name=else-serve]")
    await page.select_option("[name=else-serve]", "v:on")
    await page.wait_for_selector("#outcome td:has-text('1000')")
    await page.click("button:text-is('Add a step of the schedule')")
    await page.wait_for_selector("[name=at]")
    await page.fill("[name=at]", "2031-01-02T03:04:05")
    await page.select_option("[name=at-environment]", "staging")
    await page.select_option("[name=state]", "DISABLED")
    assert await desk.grave() == []
    assert await desk.too_wide() <= 0
    await desk.picture("flag-environments")
    await page.click("button[value='layer:']")
    await page.wait_for_selector("[name=enabled]")
    await page.click("button:text-is('Save')")
    await page.wait_for_selector("text=Done.")
    stored = (await admin.get(f"/system/flags/{flag}")).json()
    assert stored["environments"]["staging"]["targeting"] == {"if": [True, "on"]}
    assert stored["schedule"][0]["at"].startswith("2031-01-02T03:04:05")
    assert (stored["schedule"][0]["environment"], stored["schedule"][0]["state"]) == ("staging", "DISABLED")
    assert stored["targeting"] == SPLIT
