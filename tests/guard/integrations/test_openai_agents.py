"""The hook of the OpenAI Agents SDK: on the real package, with its scripted model in the place of a provider.

The package takes seconds to load: the process that runs these tests loads it, not every one that lists them.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from tests.guard.integrations.shop import BOTH, Shop, begun

if TYPE_CHECKING:
    from agents import Agent
    from agents.testing import ModelCall

    from valhalla.guard.integrations.openai_agents import GuardedTools


def calls(*made: tuple[str, dict[str, Any]]) -> list[Any]:
    """Return a turn of the model that makes these calls."""
    from openai.types.responses import ResponseFunctionToolCall

    return [
        ResponseFunctionToolCall(name=name, arguments=json.dumps(args), call_id=f"call-{i}", type="function_call")
        for i, (name, args) in enumerate(made)
    ]


def repeat(call: ModelCall) -> Any:
    """Say what the tools answered."""
    from openai.types.responses import ResponseOutputMessage, ResponseOutputText

    assert isinstance(call.input, list)
    told = [item["output"] for item in call.input if item.get("type") == "function_call_output"]
    text = ResponseOutputText(text=" | ".join(map(str, told)), annotations=[], type="output_text")
    return [ResponseOutputMessage(id="m", content=[text], role="assistant", status="completed", type="message")]


def agent(shop: Shop, *made: tuple[str, dict[str, Any]], **options: Any) -> tuple[Agent[Any], GuardedTools]:
    """Return an agent whose model makes the calls, if any, and then repeats what it was told."""
    from agents import Agent
    from agents.testing import ModelStep, ScriptedModel

    from valhalla.guard.integrations.openai_agents import GuardedTools

    tools = GuardedTools(shop.guard, principal="cy", **options)
    listed = [tools.tool(action) for action in (shop.refund, shop.gift, shop.grant, shop.tip)]
    turns = [calls(*made)] if made else []
    model = ScriptedModel([*turns, *(ModelStep.respond(repeat) for _ in range(3))])
    return Agent("clerk", model=model, tools=listed), tools


async def run(clerk: Agent[Any], what: Any = "go") -> Any:
    from agents import RunConfig, Runner

    return await Runner.run(clerk, what, run_config=RunConfig(tracing_disabled=True))


@pytest.mark.parametrize("killed", [False, pytest.param(True, marks=pytest.mark.slow)])
async def test_approvals_survive_a_restart_and_are_dispatched_once(shop: Shop, killed: bool) -> None:
    from agents import RunState

    # another process begins, and is killed as soon as it has kept the state of its run; the SDK takes seconds to load
    kept = begun(__name__, shop.path) if killed else await begin(Shop(shop.path))
    assert shop.paid() == []

    clerk, tools = agent(shop)
    state = await RunState.from_json(clerk, json.loads(kept))
    assert not await tools.decide(state)
    for record in shop.guard.waiting():
        shop.guard.approve(record.id, by="ana")
    # resumed twice at once, and a worker dispatches too
    states = [await RunState.from_json(clerk, json.loads(kept)) for _ in range(2)]
    assert [await tools.decide(state) for state in states] == [True, True]
    one, other, _ = await asyncio.gather(*(run(clerk, state) for state in states), shop.guard.adispatch())
    assert one.final_output == other.final_output
    assert one.final_output.count("receipt-") == 2
    assert sorted(shop.paid()) == [("B-1", 900), ("di", 900)]


async def begin(shop: Shop) -> str:
    """Run until the interruption; return what an application keeps."""
    clerk, _ = agent(shop, *BOTH)
    result = await run(clerk)
    assert [item.tool_name for item in result.interruptions] == [name for name, _ in BOTH]
    return json.dumps(result.to_state().to_json())


async def test_an_approval_in_the_runs_state_alone_lets_nothing_through(shop: Shop) -> None:
    clerk, _ = agent(shop, ("gift", {"to": "di", "cents": 900}))
    result = await run(clerk)
    state = result.to_state()
    state.approve(result.interruptions[0])
    told = (await run(clerk, state)).final_output
    assert told.startswith("NOT DONE YET")
    assert shop.hold() in told
    assert shop.paid() == []


@pytest.mark.parametrize(
    ("end", "words"),
    [
        (lambda shop: shop.guard.deny(shop.hold(), by="ana", reason="too much"), "was denied: too much"),
        (lambda shop: shop.guard.cancel(shop.hold()), "the request for approval is cancelled"),
    ],
)
async def test_the_model_is_told_that_people_said_no(shop: Shop, end: Callable[[Shop], Any], words: str) -> None:
    clerk, tools = agent(shop, ("gift", {"to": "di", "cents": 900}))
    state = (await run(clerk)).to_state()
    end(shop)
    assert await tools.decide(state)
    assert words in (await run(clerk, state)).final_output
    assert shop.paid() == []


async def test_the_model_is_told_about_limits_and_unknown_ends(shop: Shop) -> None:
    clerk, _ = agent(shop, *[("tip", {"to": str(i), "cents": 1}) for i in range(3)])
    told = (await run(clerk)).final_output
    assert told.count("receipt-") == 2
    assert "NOT DONE: the limit" in told

    # the SDK's own answer to an error is an invitation to try again
    shop.mood = "silent"
    for _ in range(2):
        clerk, _ = agent(shop, ("refund", {"order": "B-2", "cents": 5}))
        assert (await run(clerk)).final_output.startswith("UNKNOWN: nobody can say")
    assert shop.paid().count(("B-2", 5)) == 1


async def test_a_call_that_needs_nobody_is_not_interrupted(shop: Shop) -> None:
    clerk, _ = agent(shop, ("refund", {"order": "B-1", "cents": 100}))
    result = await run(clerk)
    assert (result.interruptions, result.final_output) == ([], "receipt-1")


async def test_conversations_can_be_told_apart(shop: Shop) -> None:
    for conversation in ("one", "two", "two"):
        clerk, _ = agent(shop, ("tip", {"to": "di", "cents": 1}), conversation=conversation)
        await run(clerk)
    assert len(shop.paid()) == 2


async def test_arguments_that_do_not_fit_reach_no_guard(shop: Shop) -> None:
    clerk, tools = agent(shop, ("gift", {"to": "di", "cents": "many"}))
    # the SDK wants an approval for what it cannot read
    state = (await run(clerk)).to_state()
    assert await tools.decide(state)
    assert (await run(clerk, state)).final_output.startswith("An error occurred")
    assert shop.guard.waiting() == ()


async def test_arguments_that_are_converted_are_held_as_the_action_gets_them(shop: Shop) -> None:
    clerk, tools = agent(shop, ("grant", {"to": "di", "amount": "900.50"}))
    state = (await run(clerk)).to_state()
    assert not await tools.decide(state)
    shop.guard.approve(shop.hold(), by="ana")
    assert await tools.decide(state)
    assert (await run(clerk, state)).final_output == "receipt-1"
    assert shop.paid() == [("di", 90050)]
