"""What configuration can meet."""

from __future__ import annotations

from valhalla.kernel.problems import Conflict, Invalid, NotFound


class BadEntry(Invalid):
    """A value does not fit its type or schema, or the schema is none."""

    code = "config-bad-entry"
    title = "This is no valid configuration entry"
    help = (
        "Correct the member that 'errors' points at; 'type' and 'json_schema' hold for the values of every environment."
    )


class LooksSecret(Invalid):
    """A value looks like a secret; configuration is read by many."""

    code = "config-looks-secret"
    title = "This looks like a secret"
    help = "Keep secrets in a secret store and put a reference here; if it is none, say why in 'not_a_secret'."


class EntryNotFound(NotFound):
    """No entry has this key."""

    code = "config-not-found"
    title = "There is no such configuration entry"
    help = "'valhalla config ls' lists them."


class Immutable(Conflict):
    """The entry was made to keep its values."""

    code = "config-immutable"
    title = "This entry cannot be changed"
    help = "Make another entry. Only an admin can delete this one; owner and description can be changed."


class BadDocument(Invalid):
    """What shall be imported cannot be read."""

    code = "config-bad-document"
    title = "This is no configuration document"
    help = "Export one to see the form: a table of entries by key, each with its value and what else it has."
