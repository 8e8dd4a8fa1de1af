"""Guarded actions as tools of the OpenAI Agents SDK: a held call interrupts the run, and the guard alone decides.

>>> tools = GuardedTools(guard, principal=lambda ctx: ctx.context.user)
>>> agent = Agent("clerk", tools=[tools.tool(refund)])
>>> result = await Runner.run(agent, "refund B-1")
>>> # ... result.interruptions; people decide with guard.approve(...), here or elsewhere ...
>>> state = await RunState.from_json(agent, kept)  # kept = result.to_state().to_json()
>>> if await tools.decide(state):  # False: they have not
...     await Runner.run(agent, state)
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from agents import FunctionTool, RunContextWrapper, function_tool
from agents.function_schema import FuncSchema, function_schema
from agents.items import ToolApprovalItem
from agents.run_state import RunState
from agents.tool_context import ToolContext

from valhalla.guard.integrations.answers import over, tell
from valhalla.guard.integrations.faces import with_context
from valhalla.guard.integrations.outer import Outer, gave_up
from valhalla.guard.words import RELEASED

if TYPE_CHECKING:
    from valhalla.guard.guard import Guard

Told = Callable[[RunContextWrapper[Any]], str]
Arguments = tuple[tuple[Any, ...], dict[str, Any]]


class GuardedTools:
    """Makes tools of one guard's actions. ``principal`` says who asks; that person cannot approve.

    An action without a key has the tool call's id as its key. Where the provider counts its calls anew in each
    conversation (``functions.pay:0``), ``conversation`` must tell conversations apart.
    """

    def __init__(
        self, guard: Guard, *, principal: Told | str | None = None, conversation: Told | str | None = None
    ) -> None:
        """Without a ``principal`` the surroundings of the run count (``guard.acting``)."""
        self._guard = guard
        self._principal = principal
        self._conversation = conversation
        self._tools: dict[str, tuple[Outer, FuncSchema]] = {}

    def tool(self, action: Callable[..., Any], **options: Any) -> FunctionTool:
        """Return the tool of ``action``; ``options`` are those of ``function_tool``.

        A call that needs people makes its hold and interrupts the run. An approval in the run's state alone lets
        nothing through; a refusal is answered in words, and so is an end that nobody knows.
        """
        outer = Outer(self._guard, action)

        async def call(ctx: ToolContext[Any], *args: Any, **kwargs: Any) -> Any:
            with self._guard.acting(_said(self._principal, ctx)):
                outcome = await outer.aoutcome(self._key(ctx, ctx.tool_call_id), args, kwargs)
            if outcome.ok:
                return outcome.value
            return outcome.unwrap() if gave_up(outcome) else tell(outcome)

        async def asks(ctx: RunContextWrapper[Any], given: dict[str, Any], call_id: str) -> bool:
            read = _read(schema, given)
            return read is not None and await self._held(outer, ctx, call_id, read)

        face = with_context(call, outer.declared.function, ToolContext[Any])
        schema = function_schema(face, strict_json_schema=options.get("strict_mode", True))
        made = function_tool(face, needs_approval=asks, **options)
        self._tools[made.name] = (outer, schema)
        return made

    async def decide(self, state: RunState[Any, Any]) -> bool:
        """Tell the state of a run what became of its holds; return whether nothing in it waits any more.

        Interruptions of other tools are left to the application. A hold that is denied is handed to the tool too:
        the guard says why. One that expired or was cancelled is rejected.
        """
        context: Any = state._context  # pyright: ignore[reportPrivateUsage] - the SDK has no other way to it
        waiting = False
        for item in state.get_interruptions():
            if (known := self._tools.get(item.tool_name or "")) is None:
                waiting = True
                continue
            (outer, schema), call_id = known, item.call_id or ""
            read = _read(schema, _given(item))
            if read is None:
                # the SDK interrupts for arguments that do not fit, too; the tool refuses them
                state.approve(item)
                continue
            record = await self._guard.adrive(outer.find(self._key(context, call_id), *read))
            if record is not None and record.state in RELEASED - {"not_done"}:
                state.reject(item, rejection_message=over(record))
            # ... and without a question for arguments that it has to convert
            elif record.state == "held" if record else await self._held(outer, context, call_id, read):
                waiting = True
            else:
                state.approve(item)
        return not waiting

    async def _held(self, outer: Outer, ctx: RunContextWrapper[Any], call_id: str, read: Arguments) -> bool:
        """Say whether the call waits for people; if it needs them its hold is made here."""
        key = self._key(ctx, call_id)
        with self._guard.acting(_said(self._principal, ctx)):
            return outer.would_hold(key, *read) and (await outer.aoutcome(key, *read)).status == "held"

    def _key(self, ctx: RunContextWrapper[Any], call_id: str) -> str:
        within = _said(self._conversation, ctx)
        return call_id if within is None else f"{within}:{call_id}"


def _said(told: Told | str | None, ctx: RunContextWrapper[Any]) -> str | None:
    return told(ctx) if callable(told) else told


def _given(item: ToolApprovalItem) -> dict[str, Any]:
    try:
        return json.loads(item.arguments or "{}")
    except ValueError:
        return {}


def _read(schema: FuncSchema, given: dict[str, Any]) -> Arguments | None:
    """Return the arguments as the tool will get them, ``None`` if it will refuse them."""
    try:
        args, kwargs = schema.to_call_args(schema.params_pydantic_model(**given))
    except ValueError:
        return None
    return tuple(args), kwargs
