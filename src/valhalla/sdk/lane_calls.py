"""The requests of live events: routes, lanes, dead letters, what is played again, publishing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from valhalla.sdk.wire import Request, params, segment

Document = dict[str, Any]


def events_of(ref: str) -> str:
    """Return where a sandbox's events are."""
    return _at(ref, "events")


def _at(ref: str, *more: str) -> str:
    return "/".join((f"/api/sandboxes/{segment(ref)}", *more))


def routes(ref: str) -> Request[list[Document]]:
    """The routes that a sandbox has."""
    return Request("GET", _at(ref, "routes"), list[Document])


def change_routes(
    ref: str,
    *,
    link: Sequence[Mapping[str, Any]] = (),
    unlink: Sequence[Mapping[str, str]] = (),
    unread: str = "drain",
) -> Request[list[Document]]:
    """Release and claim several routes; each is ``{"kind": …, "key": …}``, a claim may have ``mode`` and ``sample``.

    ``unread`` says who gets what the sandbox has not read of released ones: ``drain`` (the sandbox), ``return``
    (production) or ``drop`` (nobody).
    """
    body = {"link": [dict(one) for one in link], "unlink": [dict(one) for one in unlink], "unread": unread}
    return Request("POST", _at(ref, "routes", "bulk"), list[Document], body=body)


def page(
    ref: str,
    *,
    after: int | None = None,
    limit: int = 100,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Request[Document]:
    """Events of a sandbox's lane behind a sequence, or stored from an instant on, oldest first, as CloudEvents."""
    wanted = params(after=after, limit=limit, since=since, until=until)
    return Request("GET", _at(ref, "events"), Document, params=wanted)


def past(
    ref: str,
    kind: str,
    key: str,
    *,
    after: int = 0,
    limit: int = 100,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Request[Document]:
    """What production has of a key that the sandbox has a route for; ``done`` says that nothing follows."""
    wanted = params(kind=kind, key=key, after=after, limit=limit, since=since, until=until)
    return Request("GET", _at(ref, "events", "past"), Document, params=wanted)


def copy_past(
    ref: str,
    kind: str,
    key: str,
    *,
    run: str,
    after: int = 0,
    limit: int = 200,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Request[Document]:
    """Copy a piece of production's events of a linked key onto the lane; ``run`` makes repeating it safe."""
    body: Document = {"kind": kind, "key": key, "run": run, "after": after, "limit": limit}
    instants = {"since": since, "until": until}
    body |= {name: instant.isoformat() for name, instant in instants.items() if instant is not None}
    return Request("POST", _at(ref, "events", "replay"), Document, body=body)


def play_piece(ref: str, piece: Mapping[str, Any]) -> Request[Document]:
    """Put a piece of a session onto the lane, as ``sessions.Playback`` makes it; repeating it is safe."""
    return Request("POST", _at(ref, "events", "play"), Document, body=piece)


def dead(ref: str, *, after: int = 0, limit: int = 100) -> Request[Document]:
    """What a sandbox could not work on, and why."""
    return Request("GET", _at(ref, "events", "dead"), Document, params=params(after=after, limit=limit))


def replay(ref: str, number: int) -> Request[Document]:
    """Put a dead letter on the sandbox's lane again."""
    return Request("POST", _at(ref, "events", "dead", str(number), "replay"), Document)


def discord_token(ref: str) -> Request[Document]:
    """The ``token`` that the Discord bot of a running sandbox uses at ``valhalla ingress discord-api``."""
    return Request("GET", _at(ref, "discord-token"), Document)


def publish(events: Sequence[Mapping[str, Any]]) -> Request[list[Document]]:
    """Publish events, each on the lane of its key: ``source``, ``key``, ``type``, ``id`` and ``data``.

    All are stored when this returns; the same ``id`` of a source is stored once, so repeating it is safe.
    """
    return Request("POST", "/api/events", list[Document], body={"events": list(events)})
