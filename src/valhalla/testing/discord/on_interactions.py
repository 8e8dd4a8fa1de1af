"""Routes that answer interactions: the callback, and the webhook of an interaction's token."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from valhalla.testing.discord.calls import Refused, Request, unknown
from valhalla.testing.discord.documents import Doc
from valhalla.testing.discord.on_channels import edit
from valhalla.testing.discord.routes import Routes
from valhalla.testing.discord.world import Interaction

if TYPE_CHECKING:
    from valhalla.testing.discord.rest import Rest

_LIFETIME = 15 * 60


def routes() -> Routes:
    """Return the table."""
    made = Routes()
    on = made.on

    @on("POST", "/interactions/{interaction_id}/{token}/callback", open=True)
    def callback(rest: Rest, request: Request) -> Doc | None:
        found = rest.world.interactions.get(request["token"])
        late = found is None or time.monotonic() - found.at > rest.interaction_deadline
        if found is None or found.id != request["interaction_id"] or (late and found.callback is None):
            raise unknown("interaction", 10062)
        if found.callback is not None:
            raise Refused(400, 40060, "Interaction has already been acknowledged.")
        kind = request.document.get("type")
        if kind not in {4, 5, 6, 7, 8, 9}:
            raise Refused(400, 50035, "Invalid Form Body")
        message = None
        if kind in {4, 5}:
            # 5 is "the bot is thinking": a message that has nothing in it yet
            message = _say(rest, request, found, request.document.get("data") or {})
            found.original = message["id"]
        elif kind == 7 and "message" in found.document:
            message = found.document["message"]
            edit(message, rest.written(request, request.document.get("data") or {}, message["channel_id"], message))
            rest.tell_message("MESSAGE_UPDATE", message)
        found.answer(request.document)
        if request.query.get("with_response", "").lower() not in {"1", "true"}:
            return None
        about = {"id": found.id, "type": found.document["type"], "response_message_id": found.original}
        about |= {"response_message_loading": kind == 5, "response_message_ephemeral": False}
        return {"interaction": about, "resource": {"type": kind, **({"message": message} if message else {})}}

    @on("POST", "/webhooks/{webhook_id}/{token}", open=True)
    def followup(rest: Rest, request: Request) -> Doc:
        found = _answered(rest, request)
        message = _say(rest, request, found, request.document)
        found.followups.append(message)
        return message

    template = "/webhooks/{webhook_id}/{token}/messages/{message_id}"

    @on("GET", template, open=True)
    def read(rest: Rest, request: Request) -> Doc:
        return _message(rest, request)

    @on("PATCH", template, open=True)
    def edited(rest: Rest, request: Request) -> Doc:
        message = _message(rest, request)
        edit(message, rest.written(request, request.document, message["channel_id"], message))
        rest.tell_message("MESSAGE_UPDATE", message)
        return message

    @on("DELETE", template, open=True)
    def deleted(rest: Rest, request: Request) -> None:
        message = _message(rest, request)
        del rest.world.messages[message["channel_id"]][message["id"]]

    return made


def _answered(rest: Rest, request: Request) -> Interaction:
    found = rest.world.interactions.get(request["token"])
    if found is None or request["webhook_id"] != rest.world.application_id:
        raise unknown("Webhook", 10015)
    if time.monotonic() - found.at > _LIFETIME:
        raise Refused(401, 50027, "Invalid Webhook Token")
    if found.callback is None:
        raise unknown("Webhook", 10015)
    return found


def _message(rest: Rest, request: Request) -> Doc:
    found = _answered(rest, request)
    wanted = found.original if request["message_id"] == "@original" else request["message_id"]
    message = rest.world.messages.get(found.document["channel_id"], {}).get(str(wanted))
    if message is None:
        raise unknown("Message", 10008)
    return message


def _say(rest: Rest, request: Request, found: Interaction, body: Doc) -> Doc:
    channel_id = found.document["channel_id"]
    message = rest.world.message(channel_id, rest.world.me, rest.written(request, body, channel_id))
    # only who asked sees an ephemeral one
    if not (body.get("flags") or 0) & 64:
        rest.tell_message("MESSAGE_CREATE", message)
    return message
