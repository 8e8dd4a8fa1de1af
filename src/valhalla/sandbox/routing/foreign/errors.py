"""The problems of publishers that are not ours."""

from __future__ import annotations

from valhalla.kernel.problems import Conflict, Invalid, NotFound


class SourceInvalid(Invalid):
    """This is no source that events could come from."""

    code = "source-invalid"
    title = "This is no valid event source"
    help = "Write the subject as 'orders.{key}.{type}': '{key}' once, '{type}' at most once, '*' for any other token."


class SourceNotFound(NotFound):
    """No source has this name."""

    code = "source-not-found"
    title = "There is no such event source"
    help = "'valhalla source ls' lists them."


class SourceOverlaps(Conflict):
    """Two sources, or a source and a mapping of the account's own, cover some of the same subjects."""

    code = "source-overlaps"
    title = "Another source covers some of the same subjects"
    help = "Narrow one of the two: of overlapping mappings the NATS server applies either."


class SourceInUse(Conflict):
    """A source that is enabled cannot be removed: what is mapped would stay so."""

    code = "source-enabled"
    title = "The event source is enabled"
    help = "Run 'valhalla source set NAME enabled=false' first; its keys are production's from then on."


class MappingFull(Conflict):
    """So many keys of the account are claimed that the server would become slow for all of its messages."""

    code = "mapping-full"
    title = "No more keys of this account can be mapped"
    help = "Set the source's way to 'router' and run 'valhalla router', or unlink what nobody needs."


class MirrorNeedsRouter(Conflict):
    """A mapping moves an event, it does not copy it."""

    code = "mirror-needs-router"
    title = "Events of this source cannot be mirrored"
    help = "Link the key without '--mirror', or set the source's way to 'router' and run 'valhalla router'."
