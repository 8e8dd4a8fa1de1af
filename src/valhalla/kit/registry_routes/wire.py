"""The wire models of a registry's routes: those that are the same for all, and those made from the feature's model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import Field, PydanticUserError, TypeAdapter, WithJsonSchema, create_model
from pydantic.fields import FieldInfo

from valhalla.kit.changes.followers import MAX_WAIT
from valhalla.kit.http import WireModel
from valhalla.kit.paging import DEFAULT_LIMIT, MAX_LIMIT
from valhalla.kit.registry import Change, Difference
from valhalla.kit.registry.plan import members
from valhalla.kit.registry_routes.face import Face

MAX_BULK: Final = 1000
_TOTAL: Final[Any] = Field(description="how many there are in all; null when they are more than 10,000")


class ChangeOut(WireModel):
    """One edit of one record; with ``changed`` false the record already was so."""

    revision: int
    op: Literal["put", "delete"]
    key: str
    changed: bool
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    differences: dict[str, dict[str, Any]] = Field(description="the members that differ: {name: {from, to}}")
    actor: str
    reason: str | None
    at: datetime
    correlation_id: str | None


class ChangesOut(WireModel):
    """What one write changed, or with ``dry_run`` would change."""

    dry_run: bool
    revision: int | None = Field(description="of the newest change, null when nothing changes")
    items: list[ChangeOut]


class HistoryPage(WireModel):
    """One page of history, newest first."""

    items: list[ChangeOut]
    next: str | None


class DifferenceOut(WireModel):
    """What became of one record."""

    key: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    differences: dict[str, dict[str, Any]]


class DiffOut(WireModel):
    """What differs between two revisions, by key."""

    items: list[DifferenceOut]
    next: str | None


class RollbackIn(WireModel):
    """Where to go back to."""

    to_revision: int = Field(ge=0, le=2**53, examples=[3], description="the revision whose records shall be again")


class WriteQuery(WireModel):
    """What every write may be told. A parameter that is unknown (a mistyped ``dry_run``) is refused."""

    dry_run: bool = Field(False, description="say what would change, and change nothing")
    reason: str | None = Field(None, max_length=500, description="why; kept in history and ledger (or X-Reason)")


class PageQuery(WireModel):
    """Which page."""

    limit: int = Field(DEFAULT_LIMIT, ge=1, le=MAX_LIMIT)
    cursor: str | None = Field(None, max_length=2000, description="the 'next' of the page before")


@dataclass(frozen=True, slots=True)
class Wires:
    """The models of one registry's routes."""

    new: type[WireModel]
    put: type[WireModel]
    patch: type[WireModel]
    bulk: type[WireModel]
    out: type[WireModel]
    page: type[WireModel]
    query: type[WireModel]


def wires(face: Face[Any]) -> Wires:
    """Make the models from what the feature said."""
    title, model = face.title, face.model
    key: Any = (Annotated[str, Field(min_length=1, max_length=512, examples=[face.key_example])], ...)
    version: Any = (int, Field(description="the ETag names it"))
    shown: Any = {
        face.key: (str, ...),
        "version": version,
        "created_at": (datetime, ...),
        "updated_at": (datetime, ...),
    }
    put = _with_example(_make(f"{title}In", {}, model), face.example)
    new = _make(f"{title}New", {face.key: key}, model)
    out = _make(f"{title}Out", shown, model if face.more is None else (model, face.more))
    page: Any = {"items": (list[out], ...), "next": (str | None, ...), "total": (int | None, _TOTAL)}
    patch = {name: (_any_of(info), None) for name, info in model.model_fields.items()}
    return Wires(
        new=_with_example(new, {face.key: face.key_example, **face.example}),
        put=put,
        patch=_with_example(_make(f"{title}Patch", patch), dict(list(face.example.items())[:1])),
        bulk=_bulk(face, put, key),
        out=out,
        page=_make(f"{title}Page", page),
        query=_query(face),
    )


def _make(name: str, fields: Mapping[str, Any], base: Any = WireModel) -> type[WireModel]:
    made: Any = create_model(name, __base__=base, **fields)
    return made


def _with_example(model: type[WireModel], example: Mapping[str, Any]) -> type[WireModel]:
    model.model_config["json_schema_extra"] = {"examples": [dict(example)]}
    model.model_rebuild(force=True)
    return model


def _any_of(info: FieldInfo) -> Any:
    """Return the type of a member of a merge patch: judged after the merge, but described as what it is."""
    try:
        kind: Any = Annotated[info.annotation, info]  # pyright: ignore[reportInvalidTypeForm]
        schema = TypeAdapter[Any](kind).json_schema()
    except PydanticUserError:
        return Any
    if "$defs" in schema:
        return Any
    return Annotated[Any, WithJsonSchema({"anyOf": [schema, {"type": "null"}]})]


def _bulk(face: Face[Any], put: type[WireModel], key: Any) -> type[WireModel]:
    version: Any = (Annotated[int | None, Field(ge=0, le=2**53)], Field(None, description="refuse any other; 0: none"))
    upsert = _make(
        f"{face.title}BulkPut",
        {"op": (Literal["put"], ...), face.key: key, "value": (put, ...), "if_version": version},
    )
    delete = _make(f"{face.title}BulkDelete", {"op": (Literal["delete"], ...), face.key: key, "if_version": version})
    either: Any = Annotated[upsert | delete, Field(discriminator="op")]
    bulk = _make(f"{face.title}Bulk", {"operations": (list[either], Field(min_length=1, max_length=MAX_BULK))})
    first = {"op": "put", face.key: face.key_example, "value": dict(face.example)}
    return _with_example(bulk, {"operations": [first, {"op": "delete", face.key: "another"}]})


def _query(face: Face[Any]) -> type[WireModel]:
    fields: dict[str, Any] = {
        "q": (str | None, Field(None, min_length=1, max_length=200, description="a text in the key or a name"))
    }
    if face.followers is not None:
        fields["watch"] = (int | None, Field(None, ge=0, description="the X-Revision that is known: wait for another"))
        fields["wait"] = (float, Field(30.0, ge=0, le=MAX_WAIT, description="seconds to wait for it"))
    for name in face.filters:
        kind: Any = face.model.model_fields[name].annotation
        if face.is_list(name):
            kind = get_args(kind)[0]
        fields[name] = (kind | None, None)
    return _make(f"{face.title}Query", fields, PageQuery)


def change_document(face: Face[Any], change: Change) -> dict[str, Any]:
    """Return the members of ``ChangeOut``."""
    before, after = face.body(change.key, change.before), face.body(change.key, change.after)
    return {
        "revision": change.revision,
        "op": change.op,
        "key": change.key,
        "changed": change.changed,
        "before": before,
        "after": after,
        "differences": members(before, after),
        "actor": change.actor,
        "reason": change.reason,
        "at": change.at,
        "correlation_id": change.correlation_id,
    }


def difference_document(face: Face[Any], one: Difference) -> dict[str, Any]:
    """Return the members of ``DifferenceOut``."""
    before, after = face.body(one.key, one.before), face.body(one.key, one.after)
    return {"key": one.key, "before": before, "after": after, "differences": members(before, after)}
