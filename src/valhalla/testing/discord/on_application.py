"""Routes about the bot itself, its gateway and its application's commands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from valhalla.testing.discord.calls import Refused, Request, unknown
from valhalla.testing.discord.documents import Doc
from valhalla.testing.discord.routes import Routes

if TYPE_CHECKING:
    from valhalla.testing.discord.rest import Rest


def routes() -> Routes:
    """Return the table."""
    made = Routes()
    on = made.on

    @on("GET", "/users/@me")
    def me(rest: Rest, request: Request) -> Doc:
        return rest.world.me

    @on("GET", "/users/{user_id}")
    def user(rest: Rest, request: Request) -> Doc:
        found = rest.world.users.get(request["user_id"])
        if found is None:
            raise unknown("User", 10013)
        return found

    @on("GET", "/users/@me/guilds")
    def my_guilds(rest: Rest, request: Request) -> list[Doc]:
        names = ("id", "name", "icon", "features")
        return [{name: guild[name] for name in names} | {"owner": False} for guild in rest.world.guilds.values()]

    @on("POST", "/users/@me/channels")
    def open_direct(rest: Rest, request: Request) -> Doc:
        found = rest.world.users.get(str(request.document.get("recipient_id")))
        if found is None:
            raise unknown("User", 10013)
        return rest.world.direct(found)

    @on("GET", "/gateway", open=True)
    def gateway(rest: Rest, request: Request) -> Doc:
        return {"url": rest.gateway_url(request)}

    @on("GET", "/gateway/bot")
    def gateway_bot(rest: Rest, request: Request) -> Doc:
        gateway = rest.gateway
        return {
            "url": rest.gateway_url(request),
            "shards": gateway.shards,
            "session_start_limit": {
                "total": 1000,
                "remaining": max(1000 - len(gateway.identifies), 0),
                "reset_after": 86_400_000,
                "max_concurrency": gateway.max_concurrency,
            },
        }

    def application(rest: Rest, request: Request) -> Doc:
        world = rest.world
        return {
            "id": world.application_id,
            "name": world.me["username"],
            "description": "",
            "icon": None,
            "bot_public": True,
            "bot_require_code_grant": False,
            "verify_key": "0" * 64,
            "flags": _flags(rest.gateway.allowed_intents),
            "owner": world.person(),
            "team": None,
            "bot": world.me,
        }

    on("GET", "/applications/@me")(application)
    on("GET", "/oauth2/applications/@me")(application)

    for scope in ("", "/guilds/{guild_id}"):
        template = f"/applications/{{application_id}}{scope}/commands"

        @on("GET", template)
        def listed(rest: Rest, request: Request) -> list[Doc]:
            return list(_commands(rest, request).values())

        @on("PUT", template)
        def replaced(rest: Rest, request: Request) -> list[Doc]:
            given: Any = request.body
            if not isinstance(given, list):
                raise Refused(400, 50035, "Invalid Form Body")
            commands = _commands(rest, request)
            before = {each["name"]: each["id"] for each in commands.values()}
            commands.clear()
            for each in cast("list[Doc]", given):
                _keep(rest, request, each, before.get(each.get("name", "")))
            return list(commands.values())

        @on("POST", template)
        def created(rest: Rest, request: Request) -> Doc:
            same = [
                each["id"] for each in _commands(rest, request).values() if each["name"] == request.document["name"]
            ]
            return _keep(rest, request, request.document, same[0] if same else None)

        @on("GET", template + "/{command_id}")
        def one(rest: Rest, request: Request) -> Doc:
            return _command(rest, request)

        @on("PATCH", template + "/{command_id}")
        def changed(rest: Rest, request: Request) -> Doc:
            return _keep(rest, request, _command(rest, request) | request.document, request["command_id"])

        @on("DELETE", template + "/{command_id}")
        def removed(rest: Rest, request: Request) -> None:
            _command(rest, request)
            del _commands(rest, request)[request["command_id"]]

    return made


def _flags(allowed: int) -> int:
    """Return what the application says of privileged intents; those of bots that are in few guilds."""
    return sum(1 << flag for bit, flag in ((1, 15), (8, 13), (15, 19)) if allowed & 1 << bit)


def _commands(rest: Rest, request: Request) -> dict[str, Doc]:
    if request["application_id"] != rest.world.application_id:
        raise unknown("Application", 10002)
    guild_id = request.parameters.get("guild_id")
    if guild_id is not None and guild_id not in rest.world.guilds:
        raise Refused(403, 50001, "Missing Access")
    return rest.world.commands.setdefault(guild_id, {})


def _command(rest: Rest, request: Request) -> Doc:
    found = _commands(rest, request).get(request["command_id"])
    if found is None:
        raise unknown("application command", 10063)
    return found


def _keep(rest: Rest, request: Request, given: Doc, command_id: str | None) -> Doc:
    if not given.get("name"):
        raise Refused(400, 50035, "Invalid Form Body")
    guild_id = request.parameters.get("guild_id")
    made: Doc = {
        "type": 1,
        "description": "",
        "options": [],
        "default_member_permissions": None,
        "nsfw": False,
        **given,
        "id": command_id or rest.world.ids.next(),
        "application_id": rest.world.application_id,
        "version": rest.world.ids.next(),
        **({} if guild_id is None else {"guild_id": guild_id}),
    }
    _commands(rest, request)[made["id"]] = made
    return made
