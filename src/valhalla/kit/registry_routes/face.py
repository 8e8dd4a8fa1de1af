"""What a feature says of its registry so that it gets routes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar, cast, get_origin
from urllib.parse import quote

import msgspec
from pydantic import ValidationError
from sqlalchemy.engine import Connection

from valhalla.kernel.principal import Principal
from valhalla.kernel.problems import Invalid, Misconfigured, NotFound
from valhalla.kit.changes.followers import Followers
from valhalla.kit.http import WhileClosed, WireModel, validation_problem
from valhalla.kit.registry import Change, Record, Registry

T = TypeVar("T", bound=msgspec.Struct)

KEY: Final = r"[A-Za-z0-9*][A-Za-z0-9_.:@*-]{0,127}"
_TAKEN: Final = frozenset({"history", "diff", "rollback", "bulk"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Face(Generic[T]):
    """How one registry looks over HTTP. A record is one flat object: its key, the members of ``model``, its version.

    ``noun`` names a record in English (``rate limit``), ``key`` the member that holds its key. ``model`` has the
    members that clients send; ``make`` turns it into the stored value (the one before is known) and ``show`` back;
    without them members of the same name correspond. ``state`` gives the members of ``more``, which are only shown.
    ``filters`` are members of ``model`` (and of the stored body) that lists can be narrowed by; ``search`` those that
    ``q`` looks into beside the key. ``check`` may refuse what a write would change, in its transaction, dry runs too.
    With ``followers`` one can wait for the list to change (``watch``). ``while_closed``: writes go on in maintenance.
    """

    registry: Registry[T]
    prefix: str
    tag: str
    noun: str
    read: str
    write: str
    model: type[WireModel]
    example: Mapping[str, Any]
    key: str = "key"
    key_form: str = KEY
    key_example: str = "an-example"
    make: Callable[[str, Any, T | None, Principal], T] | None = None
    show: Callable[[T], Mapping[str, Any]] | None = None
    more: type[WireModel] | None = None
    state: Callable[[Record[T]], Mapping[str, Any]] | None = None
    filters: Sequence[str] = ()
    search: Sequence[str] = ()
    check: Callable[[Connection, Principal, Sequence[Change]], None] | None = None
    missing: type[NotFound] = NotFound
    needs_match: bool = False
    followers: Followers | None = None
    reserved: frozenset[str] = field(default=frozenset())
    while_closed: WhileClosed | None = None

    @property
    def title(self) -> str:
        """The noun as the name of a type."""
        return "".join(word.capitalize() for word in re.split(r"[^A-Za-z0-9]+", self.noun))

    @property
    def plural(self) -> str:
        """The noun for several."""
        return f"{self.noun[:-1]}ies" if re.search("[^aeiou]y$", self.noun) else f"{self.noun}s"

    @property
    def has_paths(self) -> bool:
        """Whether a key may hold slashes."""
        return re.fullmatch(self.key_form, "a/a") is not None

    def is_list(self, member: str) -> bool:
        """Say whether a member of the model is a list, which a filter looks into."""
        return get_origin(self.model.model_fields[member].annotation) in {list, tuple, set, frozenset}

    def location(self, key: str) -> str:
        """Return the address of a record."""
        return f"{self.prefix}/{quote(key, safe='/' if self.has_paths else '')}"

    def check_key(self, key: str) -> None:
        """Accept the key of a record to be.

        Raises:
            Invalid: it has not the form of keys here, or stands for one of our own paths.
        """
        parts = key.split("/")
        taken = parts[0] in _TAKEN | self.reserved or parts[-1] in _TAKEN
        if re.fullmatch(self.key_form, key) is None or taken or not all(parts) or {".", ".."} & set(parts):
            why = "is a word of this API" if taken else f"has not the form {self.key_form}"
            raise Invalid(f"the {self.key} {key[:64]!a} {why}", errors=[{"pointer": f"/{self.key}", "detail": why}])

    def value(self, key: str, model: WireModel, before: T | None, principal: Principal) -> T:
        """Return what is to be stored.

        Raises:
            Invalid: the feature refuses it.
        """
        if self.make is not None:
            return self.make(key, model, before, principal)
        members = model.model_dump()
        if self.key in self.registry.type.__struct_fields__:
            members[self.key] = key
        try:
            return msgspec.convert(members, self.registry.type, strict=False)
        except msgspec.ValidationError as error:
            raise Invalid(str(error), key=key) from error

    def parse(self, members: Mapping[str, Any]) -> WireModel:
        """Return the model of merged members.

        Raises:
            Invalid: they do not fit.
        """
        try:
            return self.model.model_validate(members)
        except ValidationError as error:
            raise validation_problem([{**each, "loc": ("body", *each["loc"])} for each in error.errors()]) from error

    def members(self, value: T) -> dict[str, Any]:
        """Return what clients see of a value, in the members of ``model``."""
        shown = self.show(value) if self.show is not None else msgspec.to_builtins(value)
        return {name: shown[name] for name in self.model.model_fields if name in shown}

    def body(self, key: str, body: Mapping[str, Any] | None) -> dict[str, Any] | None:
        """Return what clients see of a stored body; of one that this release cannot read what they may see."""
        if body is None:
            return None
        try:
            return self.members(self.registry.decode(key, body))
        except Misconfigured:
            return {name: body[name] for name in self.model.model_fields if name in body}

    def document(self, record: Record[T]) -> dict[str, Any]:
        """Return a record as clients see it."""
        return {
            self.key: record.key,
            **self.members(record.value),
            **(self.state(record) if self.state is not None else {}),
            "version": record.version,
            "created_at": record.created_at,
            "updated_at": record.updated_at,
        }

    def absent(self, key: str) -> NotFound:
        """Return the problem for a key that names nothing."""
        return self.missing(f"there is no {self.noun} {key[:64]!a}", **cast("Any", {"key": ascii(key[:64])}))
