"""What a query can meet before it is executed."""

from __future__ import annotations

from valhalla.kernel.problems import Invalid


class QueryTooLarge(Invalid):
    """The query asks for more, or more deeply, than one request may."""

    code = "query-too-large"
    title = "The query asks for too much"
    help = "Ask for fewer fields, smaller pages ('limit') or less depth, or send several queries."
