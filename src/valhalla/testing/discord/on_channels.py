"""Routes about guilds, channels and messages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from valhalla.testing.discord import documents
from valhalla.testing.discord.calls import Refused, Request, unknown
from valhalla.testing.discord.documents import Doc
from valhalla.testing.discord.routes import Routes

if TYPE_CHECKING:
    from valhalla.testing.discord.rest import Rest

_EDITABLE = ("content", "embeds", "components", "flags", "attachments")


def routes() -> Routes:
    """Return the table."""
    made = Routes()
    on = made.on

    @on("GET", "/guilds/{guild_id}")
    def guild(rest: Rest, request: Request) -> Doc:
        return _guild(rest, request)

    @on("GET", "/guilds/{guild_id}/channels")
    def guild_channels(rest: Rest, request: Request) -> list[Doc]:
        return _guild(rest, request)["channels"]

    @on("GET", "/guilds/{guild_id}/roles")
    def guild_roles(rest: Rest, request: Request) -> list[Doc]:
        return _guild(rest, request)["roles"]

    @on("GET", "/guilds/{guild_id}/members")
    def guild_members(rest: Rest, request: Request) -> list[Doc]:
        return _guild(rest, request)["members"]

    @on("GET", "/guilds/{guild_id}/members/{user_id}")
    def guild_member(rest: Rest, request: Request) -> Doc:
        wanted = request["user_id"]
        for each in _guild(rest, request)["members"]:
            if each["user"]["id"] == wanted:
                return each
        raise unknown("Member", 10007)

    @on("POST", "/guilds/{guild_id}/channels")
    def made_channel(rest: Rest, request: Request) -> Doc:
        of = _guild(rest, request)
        new = documents.channel(rest.world.ids.next(), of["id"], request.document["name"], len(of["channels"]))
        of["channels"].append(new)
        rest.world.channels[new["id"]] = new
        rest.tell("CHANNEL_CREATE", new, of["id"])
        return new

    @on("GET", "/channels/{channel_id}")
    def channel(rest: Rest, request: Request) -> Doc:
        return _channel(rest, request)

    @on("PATCH", "/channels/{channel_id}")
    def changed_channel(rest: Rest, request: Request) -> Doc:
        found = _channel(rest, request)
        found.update(request.document)
        rest.tell("CHANNEL_UPDATE", found, found.get("guild_id"))
        return found

    @on("POST", "/channels/{channel_id}/typing")
    def typing(rest: Rest, request: Request) -> None:
        _channel(rest, request)

    @on("GET", "/channels/{channel_id}/messages")
    def messages(rest: Rest, request: Request) -> list[Doc]:
        kept = rest.world.messages.get(_channel(rest, request)["id"], {})
        return list(reversed(kept.values()))[: int(request.query.get("limit", 50))]

    @on("POST", "/channels/{channel_id}/messages")
    def sent(rest: Rest, request: Request) -> Doc:
        body = request.document
        if not (body.get("content") or body.get("embeds") or body.get("components") or request.files):
            raise Refused(400, 50006, "Cannot send an empty message")
        channel_id = _channel(rest, request)["id"]
        new = rest.world.message(channel_id, rest.world.me, rest.written(request, body, channel_id))
        rest.tell_message("MESSAGE_CREATE", new)
        return new

    @on("GET", "/channels/{channel_id}/messages/{message_id}")
    def message(rest: Rest, request: Request) -> Doc:
        return _message(rest, request)

    @on("PATCH", "/channels/{channel_id}/messages/{message_id}")
    def edited(rest: Rest, request: Request) -> Doc:
        found = _message(rest, request)
        edit(found, rest.written(request, request.document, found["channel_id"], found))
        rest.tell_message("MESSAGE_UPDATE", found)
        return found

    @on("DELETE", "/channels/{channel_id}/messages/{message_id}")
    def deleted(rest: Rest, request: Request) -> None:
        found = _message(rest, request)
        del rest.world.messages[found["channel_id"]][found["id"]]
        guild_id = _channel(rest, request).get("guild_id")
        gone = {"id": found["id"], "channel_id": found["channel_id"]}
        rest.tell("MESSAGE_DELETE", gone | ({"guild_id": guild_id} if guild_id else {}), guild_id)

    reaction = "/channels/{channel_id}/messages/{message_id}/reactions/{emoji}/{user_id}"

    @on("PUT", reaction)
    def reacted(rest: Rest, request: Request) -> None:
        _react(rest, request, "MESSAGE_REACTION_ADD")

    @on("DELETE", reaction)
    def took_back(rest: Rest, request: Request) -> None:
        _react(rest, request, "MESSAGE_REACTION_REMOVE")

    return made


def edit(message: Doc, body: Doc) -> None:
    """Change what an edit may change."""
    message.update({name: body[name] for name in _EDITABLE if body.get(name) is not None})
    message["edited_timestamp"] = documents.now()


def _guild(rest: Rest, request: Request) -> Doc:
    found = rest.world.guilds.get(request["guild_id"])
    if found is None:
        raise unknown("Guild", 10004)
    return found


def _channel(rest: Rest, request: Request) -> Doc:
    found = rest.world.channels.get(request["channel_id"])
    if found is None:
        raise unknown("Channel", 10003)
    return found


def _message(rest: Rest, request: Request) -> Doc:
    found = rest.world.messages.get(_channel(rest, request)["id"], {}).get(request["message_id"])
    if found is None:
        raise unknown("Message", 10008)
    return found


def _react(rest: Rest, request: Request, event: str) -> None:
    found = _message(rest, request)
    guild_id = _channel(rest, request).get("guild_id")
    who = rest.world.me["id"] if request["user_id"] == "@me" else request["user_id"]
    told = {"user_id": who, "channel_id": found["channel_id"], "message_id": found["id"], "type": 0, "burst": False}
    told["emoji"] = {"id": None, "name": request["emoji"]}
    if guild_id is not None:
        user = rest.world.users.get(who, rest.world.me)
        told |= {"guild_id": guild_id, "member": {**documents.member(user), "user": user}}
    rest.tell(event, told, guild_id)
