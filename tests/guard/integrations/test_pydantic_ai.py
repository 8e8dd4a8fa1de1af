"""The hook of pydantic-ai: on the real package, with its function model in the place of a provider.

The package takes seconds to load: the process that runs these tests loads it, not every one that lists them.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import TypeAdapter
from tests.guard.integrations.shop import BOTH, Shop, begun

if TYPE_CHECKING:
    from pydantic_ai import Agent, DeferredToolRequests
    from pydantic_ai.messages import ModelMessage, ModelResponse
    from pydantic_ai.models.function import AgentInfo, FunctionModel

    from valhalla.guard.integrations.pydantic_ai import GuardedTools


def model(*calls: tuple[str, dict[str, Any]]) -> FunctionModel:
    """Return a model that makes these calls at once and then repeats what it was told about them."""
    from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart
    from pydantic_ai.models.function import FunctionModel

    def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        told = [part.content for part in messages[-1].parts if part.part_kind == "tool-return"]
        if told:
            return ModelResponse([TextPart(" | ".join(map(str, told)))])
        return ModelResponse([ToolCallPart(name, args, f"call-{i}") for i, (name, args) in enumerate(calls)])

    return FunctionModel(answer)


def agent(shop: Shop, *calls: tuple[str, dict[str, Any]]) -> tuple[Agent[None, Any], GuardedTools]:
    from pydantic_ai import Agent, DeferredToolRequests

    from valhalla.guard.integrations.pydantic_ai import GuardedTools

    tools = GuardedTools(shop.guard, principal="cy")
    made = [tools.tool(action) for action in (shop.refund, shop.gift, shop.tip)]
    return Agent(model(*calls), tools=made, output_type=[str, DeferredToolRequests]), tools


def requested() -> TypeAdapter[DeferredToolRequests]:
    """Return what reads and writes the requests that an application keeps."""
    from pydantic_ai import DeferredToolRequests

    return TypeAdapter(DeferredToolRequests)


async def test_approvals_survive_a_restart_and_are_dispatched_once(shop: Shop) -> None:
    from pydantic_ai.messages import ModelMessagesTypeAdapter

    # another process begins, and is killed as soon as it has kept its messages and requests
    kept = json.loads(begun(__name__, shop.path))
    assert shop.paid() == []

    clerk, tools = agent(shop)
    history, requests = ModelMessagesTypeAdapter.validate_json(kept[0]), requested().validate_json(kept[1])
    assert await tools.decided(requests) is None
    for record in shop.guard.waiting():
        shop.guard.approve(record.id, by="ana")
    answers = await tools.decided(requests)
    # resumed twice at once, and a worker dispatches too
    resumed = [clerk.run(message_history=history, deferred_tool_results=answers) for _ in range(2)]
    one, other, _ = await asyncio.gather(*resumed, shop.guard.adispatch())
    assert one.output == other.output
    assert one.output.count("receipt-") == 2
    assert sorted(shop.paid()) == [("B-1", 900), ("di", 900)]


async def begin(shop: Shop) -> str:
    """Run until the approval is asked for; return what an application keeps."""
    from pydantic_ai import DeferredToolRequests

    clerk, _ = agent(shop, *BOTH)
    result = await clerk.run("give the money")
    assert isinstance(result.output, DeferredToolRequests)
    return json.dumps([result.all_messages_json().decode(), requested().dump_json(result.output).decode()])


async def test_what_the_application_approves_by_itself_is_held_again(shop: Shop) -> None:
    from pydantic_ai import DeferredToolRequests, DeferredToolResults

    clerk, _ = agent(shop, ("gift", {"to": "di", "cents": 900}))
    result = await clerk.run("give")
    again = await clerk.run(
        message_history=result.all_messages(), deferred_tool_results=DeferredToolResults(approvals={"call-0": True})
    )
    assert isinstance(again.output, DeferredToolRequests)
    assert again.output.metadata["call-0"]["hold"] == shop.hold()
    assert shop.paid() == []


async def test_arguments_changed_after_the_approval_are_not_done(shop: Shop) -> None:
    from pydantic_ai import DeferredToolRequests, DeferredToolResults, ToolApproved

    clerk, _ = agent(shop, ("gift", {"to": "di", "cents": 900}))
    result = await clerk.run("give")
    shop.guard.approve(shop.hold(), by="ana")
    changed = ToolApproved(override_args={"to": "eve", "cents": 9000})
    again = await clerk.run(
        message_history=result.all_messages(), deferred_tool_results=DeferredToolResults(approvals={"call-0": changed})
    )
    assert isinstance(again.output, DeferredToolRequests)
    assert shop.paid() == []
    assert await shop.guard.adispatch() == []


@pytest.mark.parametrize(
    ("end", "words"),
    [
        (lambda shop: shop.guard.deny(shop.hold(), by="ana", reason="too much"), "was denied: too much"),
        (lambda shop: shop.guard.cancel(shop.hold()), "the request for approval is cancelled"),
    ],
)
async def test_the_model_is_told_that_people_said_no(shop: Shop, end: Callable[[Shop], Any], words: str) -> None:
    clerk, tools = agent(shop, ("gift", {"to": "di", "cents": 900}))
    result = await clerk.run("give")
    end(shop)
    answers = await tools.decided(result.output)
    done = await clerk.run(message_history=result.all_messages(), deferred_tool_results=answers)
    assert words in done.output
    assert shop.paid() == []


async def test_the_model_is_told_about_limits_and_unknown_ends(shop: Shop) -> None:
    clerk, _ = agent(shop, *[("tip", {"to": str(i), "cents": 1}) for i in range(3)])
    told = (await clerk.run("tip")).output
    assert told.count("receipt-") == 2
    assert "NOT DONE: the limit" in told
    assert "Earliest next try: in" in told

    shop.mood = "silent"
    clerk, _ = agent(shop, ("refund", {"order": "B-2", "cents": 5}))
    for _ in range(2):
        assert "UNKNOWN: nobody can say" in (await clerk.run("refund")).output
    assert shop.paid().count(("B-2", 5)) == 1

    shop.mood = "busy"
    clerk, _ = agent(shop, ("refund", {"order": "B-3", "cents": 5}))
    assert "the bank is closed. Nothing happened" in (await clerk.run("refund")).output


async def test_equal_calls_of_two_conversations_are_two(shop: Shop) -> None:
    clerk, _ = agent(shop, ("tip", {"to": "di", "cents": 1}))
    assert (await clerk.run("tip")).output == "receipt-1"
    assert (await clerk.run("tip")).output == "receipt-2"


async def test_the_model_sees_the_functions_parameters(shop: Shop) -> None:
    from pydantic_ai import Agent
    from pydantic_ai.messages import ModelResponse, TextPart
    from pydantic_ai.models.function import FunctionModel

    from valhalla.guard.integrations.pydantic_ai import GuardedTools

    seen: list[AgentInfo] = []

    def look(_: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        seen.append(info)
        return ModelResponse([TextPart("seen")])

    tool = GuardedTools(shop.guard).tool(shop.refund)
    await Agent(FunctionModel(look), tools=[tool]).run("look")
    (shown,) = seen[0].function_tools
    assert (shown.name, shown.description) == ("refund", "Give money back.")
    assert shown.parameters_json_schema["properties"] == {
        "order": {"type": "string", "description": "the order's number"},
        "cents": {"type": "integer", "description": "how much"},
    }
