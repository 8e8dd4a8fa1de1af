"""What a page of the console is: a description. Views show it and the API answers it; it has no code of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple

from valhalla.kernel.principal import Principal

Kind = Literal["session", "link", "state"]
Shape = Literal["auto", "time", "status", "code", "seconds", "count", "link"]
Input = Literal["text", "area", "json", "list", "select", "check", "number", "time", "secret"]
Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
Tone = Literal["plain", "good", "danger"]


class Ticket(NamedTuple):
    """What is kept of a session or a link."""

    client_id: str
    key_digest: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Session:
    """Who is signed in; ``form_token`` is what its forms must send along."""

    digest: str
    principal: Principal
    key_digest: str
    expires_at: datetime
    form_token: str


@dataclass(frozen=True, slots=True)
class Column:
    """One column; ``name`` is the member of an item, with dots for what lies deeper."""

    name: str
    label: str = ""
    shape: Shape = "auto"
    to: str = ""
    """For a link: the slug of the page whose record this names."""

    @property
    def title(self) -> str:
        """What stands above it."""
        return self.label or self.name.rpartition(".")[2].replace("_", " ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One input of a form. It goes into the body (``a.b``: into the object ``a``), or into the query with ``query``.

    Empty ones are left out. Where the table is narrowed by a filter of the same name, that is what is in it first: so
    an action on all that match takes the filters over. ``*`` is the whole body.
    """

    name: str
    label: str = ""
    input: Input = "text"
    options: Sequence[str] = ()
    required: bool = False
    default: str = ""
    help: str = ""
    query: bool = False
    path: bool = False
    """Whether it is the key in the path of what is made."""
    only: tuple[str, str] | None = None
    """The input, and its value, with which alone this one is sent."""

    @property
    def title(self) -> str:
        """What stands before it."""
        return self.label or self.name.replace("_", " ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """Something to do: one request to the API. Who lacks the route's scope does not see it.

    ``path`` may hold ``{one}``, the path of the record. ``when`` maps members to the values with which it makes sense.
    """

    name: str
    label: str
    path: str
    method: Method = "POST"
    fields: Sequence[Field] = ()
    body: Mapping[str, Any] | None = None
    """Members that are always sent."""
    copy: Mapping[str, str] | None = None
    """Members that are sent as the record has them: ``{"fingerprint": "fingerprint"}``."""
    tone: Tone = "plain"
    warning: str = ""
    when: Mapping[str, Sequence[Any]] | None = None
    shows: bool = False
    """Whether the answer is shown at once, as it cannot be seen again (a key) or is the point (a test)."""
    key: str = ""
    """The key that does it in a table."""
    whole: bool = False
    """Whether the form is the record's definition as JSON."""
    each: bool = True
    """Whether it is done to all that match one by one, as the API has no way to do it to many."""
    prefilled: bool = False
    """Whether its inputs hold first what the record has."""
    editor: bool = False
    """Whether that has an editor of its own (flags)."""


@dataclass(frozen=True, slots=True)
class Section:
    """A further part of a record's page: what another path says of it (``{one}``: the record's path)."""

    title: str
    path: str
    columns: Sequence[Column] = ()
    template: str = ""
    items: str = "items"
    query: Mapping[str, str] | None = None
    """Parameters whose values are members of the record."""
    always: Mapping[str, str] | None = None
    """Parameters that are the same for every record."""
    of: str = ""
    """The member that the path is about, if it is not the key: without what it ``begins`` with, or not at all."""
    begins: str = ""
    body: Mapping[str, str] | None = None
    """Members of the record that are asked with, by POST; always as a dry run."""


class Above(NamedTuple):
    """Something above a table: a template, and the path of what it shows; with the parameters that it ``carries``."""

    template: str
    path: str
    carries: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One list of the API, and each of its records.

    ``path`` and ``one`` are routes of the API as they are declared; what the page can do follows from the methods that
    they have: a registry is edited as its definition, rolled back, and has a history without a word here.
    """

    slug: str
    title: str
    group: str
    path: str
    teach: str
    """What an empty table says: what would be here, and how it comes."""
    columns: Sequence[Column] = ()
    one: str = ""
    key: str = "key"
    name: str = ""
    """The member that records are called by, if it is not the key."""
    actions: Sequence[Action] = ()
    tools: Sequence[Action] = ()
    """What is done with the whole list."""
    sections: Sequence[Section] = ()
    topics: Sequence[str] = ()
    """Beginnings of subjects whose events make the table stale."""
    defaults: Mapping[str, str] | None = None
    """Filters that hold until others are chosen."""
    choices: Mapping[str, Sequence[str]] | None = None
    """Values of filters that the API takes as text."""
    cli: str = ""
    """The command that lists the same; ``cli_one`` shows one."""
    cli_one: str = ""
    items: str = "items"
    report: bool = False
    """Whether the path answers one document, and not a list."""
    lag: float = 0.0
    """How many seconds old the answer may be: a report that an event made stale is asked for again then."""
    above: Sequence[Above] = ()
    template: str = "record.html"
    noun: str = ""

    @property
    def linked(self) -> str:
        """The column that leads to the record."""
        names = [column.name for column in self.columns]
        return self.name if self.name in names else names[0]

    @property
    def thing(self) -> str:
        """What one record is called."""
        return self.noun or self.title.lower().removesuffix("s")
