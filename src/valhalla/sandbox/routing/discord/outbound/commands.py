"""Global slash commands of a sandbox's bot: they become commands of the guilds that are the sandbox's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from valhalla.sandbox.routing.discord.outbound.answers import Reply, json
from valhalla.sandbox.routing.discord.outbound.rules import Call

Send = Callable[[Call], Awaitable[Reply]]


async def scoped(call: Call, application: str, guilds: Sequence[str], send: Send) -> Reply:
    """Make a call that is about global commands once for each guild; return the first answer that is one.

    A command by its id is one guild's: it is looked for until one has it.
    """
    below = call.path.partition("/commands")[2]
    if not guilds:
        return json(200, []) if call.reads and not below else json(404, {"message": "Unknown command", "code": 10_063})
    answer: Reply | None = None
    for guild in guilds:
        path = f"/applications/{application}/guilds/{guild}/commands{below}"
        reply = await send(Call("guild", call.method, path, guild))
        if below:
            answer = reply
            if reply.status != 404:
                break
        else:
            if answer is None or (reply.status >= 400 > answer.status):
                answer = reply
            if reply.status == 429 or call.reads:
                break
    assert answer is not None
    return answer
