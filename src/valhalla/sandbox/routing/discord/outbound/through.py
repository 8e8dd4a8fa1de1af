"""The real bot's own calls: whoever shows the real token could ask Discord as well, so nothing is looked at.

That it may ask here is for its gateway's sake: libraries take the address of the gateway from the REST interface.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from valhalla.sandbox.routing.discord.outbound import answers, rules
from valhalla.sandbox.routing.discord.outbound.answers import Reply
from valhalla.sandbox.routing.discord.outbound.upstream import NotSent, Unanswered, Upstream

if TYPE_CHECKING:
    from valhalla.sandbox.routing.discord.outbound.lock import Asked


class Through:
    """``advice`` is what ``/gateway/bot`` says to the real bot, by the request."""

    def __init__(self, upstream: Upstream, token: SecretStr, advice: Callable[[Asked], Mapping[str, Any]]) -> None:
        self._upstream = upstream
        self._shown = f"Bot {token.get_secret_value()}".encode()
        self._advice = advice

    def takes(self, asked: Asked) -> bool:
        """Say whether a request shows the real token."""
        return hmac.compare_digest(asked.headers.get("authorization", "").encode(errors="replace"), self._shown)

    async def answer(self, asked: Asked) -> Reply:
        """Answer one request; its limits are kept by the bot itself."""
        call = rules.classify(asked.method, asked.path)
        if call.subject == "gateway":
            return answers.json(200, self._advice(asked))
        if not call.path:
            return answers.json(404, {"message": "404: Not Found", "code": 0})
        kept = ("content-type", "x-audit-log-reason")
        headers = {name: asked.headers[name] for name in kept if name in asked.headers}
        try:
            return await self._upstream.send(
                asked.method, call.path, query=asked.query, body=asked.body or None, headers=headers
            )
        except NotSent as error:
            return answers.away(f"nothing was sent: {error}")
        except Unanswered:
            return answers.unanswered()
