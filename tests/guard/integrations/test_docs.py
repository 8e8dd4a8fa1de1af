"""The snippets of the page run as they stand, one after the other; people approve in between."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from celery import Celery
from fastapi import Depends, FastAPI
from tests.guard.integrations import test_openai_agents, test_pydantic_ai
from tests.guard.integrations.shop import BOTH, Shop

PAGE = Path(__file__).parents[3] / "docs" / "guard.md"


def blocks() -> list[str]:
    section = PAGE.read_text().split("\n## Integrations\n")[1].split("\n## ")[0]
    return re.findall(r"```python\n(.*?)```", section, re.DOTALL)


async def play(code: str, names: dict[str, Any]) -> None:
    made = eval(compile(code, "guard.md", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), names)
    if inspect.iscoroutine(made):
        await made


def approve(shop: Shop) -> None:
    for record in shop.guard.waiting():
        shop.guard.approve(record.id, by="ana")


async def test_the_web_snippet(shop: Shop) -> None:
    app = FastAPI()
    await play(
        blocks()[0], {"app": app, "guard": shop.guard, "user": lambda: "cy", "Depends": Depends, "refund": shop.refund}
    )
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop") as client:
        answers = [await client.post("/refunds", params={"order": "B-1", "cents": 900})]
        approve(shop)
        answers.append(await client.post("/refunds", params={"order": "B-1", "cents": 900}))
    assert [answer.status_code for answer in answers] == [202, 200]


async def test_the_task_snippet(shop: Shop) -> None:
    app = Celery("shop", broker="memory://", backend="cache+memory://", set_as_current=False)
    app.conf.task_always_eager = True
    names: dict[str, Any] = {"app": app, "guard": shop.guard, "refund": shop.refund}
    await play(blocks()[1], names)
    (record,) = shop.guard.waiting()
    assert (record.key, record.principal) == ("B-1", "billing")


@pytest.mark.parametrize("first", [2, 4])
async def test_the_agents_snippets(shop: Shop, first: int) -> None:
    from agents import set_tracing_disabled
    from agents.testing import ModelStep, ScriptedModel

    turns = [test_openai_agents.calls(BOTH[0]), ModelStep.respond(test_openai_agents.repeat)]
    set_tracing_disabled(disabled=True)
    names = {
        "guard": shop.guard,
        "refund": shop.refund,
        "model": test_pydantic_ai.model(BOTH[0]),
        "openai_model": ScriptedModel(turns),
    }
    snippets = blocks()
    assert len(snippets) == 6
    await play(snippets[first], names)
    assert shop.paid() == []
    approve(shop)
    await play(snippets[first + 1], names)
    result: Any = names["result"]
    assert (result.output if first == 2 else result.final_output) == "receipt-1"
    set_tracing_disabled(disabled=False)
