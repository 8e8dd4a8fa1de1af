"""Guarded actions as tools of pydantic-ai: a held call pauses the run, and the guard alone says how it goes on.

>>> tools = GuardedTools(guard, principal=lambda ctx: ctx.deps.user)
>>> agent = Agent(model, tools=[tools.tool(refund)], output_type=[str, DeferredToolRequests])
>>> result = await agent.run("refund B-1")
>>> # ... result.output is a DeferredToolRequests; people decide with guard.approve(...), here or elsewhere ...
>>> answers = await tools.decided(result.output)  # None: they have not
>>> await agent.run(message_history=result.all_messages(), deferred_tool_results=answers)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pydantic_ai import ApprovalRequired, DeferredToolRequests, DeferredToolResults, RunContext, Tool, ToolDenied
from pydantic_ai.exceptions import ToolFailed

from valhalla.guard import holds
from valhalla.guard.contracts import Record
from valhalla.guard.errors import HoldNotFound
from valhalla.guard.integrations.answers import over, tell
from valhalla.guard.integrations.faces import with_context
from valhalla.guard.integrations.outer import Outer, gave_up
from valhalla.guard.words import RELEASED

if TYPE_CHECKING:
    from valhalla.guard.guard import Guard

Principal = Callable[[RunContext[Any]], str] | str


class GuardedTools:
    """Makes tools of one guard's actions. ``principal`` says who asks; that person cannot approve."""

    def __init__(self, guard: Guard, *, principal: Principal | None = None) -> None:
        """Without a ``principal`` the surroundings of the run count (``guard.acting``)."""
        self._guard = guard
        self._principal = principal

    def tool(self, action: Callable[..., Any], **options: Any) -> Tool[Any]:
        """Return the tool of ``action``; ``options`` are those of ``pydantic_ai.Tool``.

        An action without a key has the tool call's id in its conversation as its key. A held call raises
        ``ApprovalRequired`` with the hold's id as metadata, also when it is resumed before people have decided: what
        the application passes as approval is not believed. Every other refusal is a ``ToolFailed`` in words.
        """
        outer = Outer(self._guard, action)

        async def call(ctx: RunContext[Any], *args: Any, **kwargs: Any) -> Any:
            with self._guard.acting(self._who(ctx)):
                outcome = await outer.aoutcome(_key(ctx), args, kwargs)
            if outcome.ok:
                return outcome.value
            if outcome.status == "held":
                raise ApprovalRequired(metadata={"hold": outcome.id})
            if gave_up(outcome):
                outcome.unwrap()
            raise ToolFailed(tell(outcome)) from outcome.error

        return Tool(with_context(call, outer.declared.function, RunContext[Any]), takes_ctx=True, **options)

    async def decided(self, requests: DeferredToolRequests) -> DeferredToolResults | None:
        """Return what to resume the run with, ``None`` as long as one of the calls waits for people.

        Calls of other tools are left to the application: add them to ``approvals`` and ``calls``.
        """
        results = DeferredToolResults()
        for id_, metadata in requests.metadata.items():
            if (hold := metadata.get("hold")) is None:
                continue
            record = await self._find(hold)
            if record is not None and record.state == "held":
                return None
            lost = record is None or record.state in RELEASED - {"not_done"}
            results.approvals[id_] = ToolDenied(over(record)) if lost else True
        return results

    async def _find(self, hold: str) -> Record | None:
        try:
            return await self._guard.adrive(holds.find(hold))
        except HoldNotFound:
            return None

    def _who(self, ctx: RunContext[Any]) -> str | None:
        return self._principal(ctx) if callable(self._principal) else self._principal


def _key(ctx: RunContext[Any]) -> str | None:
    """Return the call's own key: some providers count tool calls anew in each conversation."""
    if ctx.tool_call_id is None:
        return None
    return f"{ctx.conversation_id}:{ctx.tool_call_id}"
