"""Pure decisions about sandboxes: names, lifetimes, routes, tags. No I/O, no clock."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, cast

from valhalla.kernel.problems import Invalid
from valhalla.kit.json import dumps
from valhalla.sandbox.contracts import Limits, Route, Spec
from valhalla.sandbox.errors import SliceUnknown
from valhalla.sandbox.routing import kinds
from valhalla.sandbox.slices.contracts import DEFAULT_SLICES, SLICES
from valhalla.sandbox.vocabulary import ADJECTIVES, NOUNS

NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,62}")
OWNER: Final = re.compile(r"[a-z][a-z0-9_.-]{0,62}")
TAG: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/-]{0,62}")
TEMPLATE: Final = re.compile(r"[a-z][a-z0-9_-]{0,62}")

MAX_TAGS: Final = 20
MAX_ROUTES: Final = 50
MAX_DESCRIPTION: Final = 500
MAX_METADATA_BYTES: Final = 16_384
MAX_SECONDS: Final = 1_000_000_000
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")
_TTL: Final = re.compile(r"(?:[0-9]{1,10}[smhd])+")
_TTL_PART: Final = re.compile(r"([0-9]{1,10})([smhd])")


def invalid(pointer: str, detail: str) -> Invalid:
    """Make the problem for one wrong member; ``pointer`` is its JSON pointer (RFC 6901)."""
    return Invalid(detail, errors=[{"pointer": pointer, "detail": detail}])


def check_name(name: str) -> str:
    """Return a legal sandbox name.

    Raises:
        Invalid: it does not match ``[a-z][a-z0-9-]{0,62}``.
    """
    if NAME.fullmatch(name) is None:
        raise invalid(
            "/name",
            "a name is 1 to 63 characters: a lower-case letter first, then lower-case letters, digits and hyphens",
        )
    return name


def check_owner(owner: str) -> str:
    """Return a legal owner.

    Raises:
        Invalid: it does not match ``[a-z][a-z0-9_.-]{0,62}``.
    """
    if OWNER.fullmatch(owner) is None:
        raise invalid("/owner", "an owner is 1 to 63 characters of a-z, 0-9, '_', '.' and '-', a letter first")
    return owner


def check_template(name: str, pointer: str) -> str:
    """Return a legal name of a template.

    Raises:
        Invalid: it does not match ``[a-z][a-z0-9_-]{0,62}``.
    """
    if TEMPLATE.fullmatch(name) is None:
        raise invalid(pointer, "a template's name is a lower-case letter, then a-z, 0-9, '_' and '-'")
    return name


def generated_name(owner: str, choose: Callable[[Sequence[str]], str]) -> str:
    """Return ``{owner}-{adjective}-{noun}``, fitted to the name rule; ``choose`` picks one of a sequence."""
    stem = re.sub(r"[^a-z0-9-]", "-", owner)[:40].rstrip("-") or "sandbox"
    return f"{stem}-{choose(ADJECTIVES)}-{choose(NOUNS)}"


def parse_ttl(text: str | int | float) -> timedelta:
    """Read a lifetime: ``90m``, ``24h``, ``7d``, ``1h30m``, or a number of seconds.

    Raises:
        Invalid: no unit in a text, not a finite positive number, or longer than 10^9 seconds.
    """
    if isinstance(text, bool):
        raise invalid("/ttl", "a TTL is a number of seconds or a text such as '90m', '24h' or '7d'")
    if isinstance(text, (int, float)):
        # compared before it is converted: an integer may be larger than any float; NaN compares as false
        if not 0 < text <= MAX_SECONDS or not (ttl := timedelta(seconds=text)):
            raise invalid("/ttl", "a TTL is a positive, finite number of seconds")
        return ttl
    if _TTL.fullmatch(text) is None:
        raise invalid("/ttl", "write a TTL with its unit, such as '90m', '24h', '7d' or '1h30m'")
    seconds = sum(int(count) * _UNITS[unit] for count, unit in _TTL_PART.findall(text))
    if not 0 < seconds <= MAX_SECONDS:
        raise invalid("/ttl", f"a TTL is longer than zero and at most {MAX_SECONDS:,} seconds")
    return timedelta(seconds=seconds)


def check_ttl(ttl: timedelta, limits: Limits) -> timedelta:
    """Return a lifetime within the maximum.

    Raises:
        Invalid: it is not positive or exceeds ``limits.max_ttl``.
    """
    if ttl <= timedelta(0):
        raise invalid("/ttl", "a TTL must be longer than zero")
    if ttl > limits.max_ttl:
        raise invalid("/ttl", f"the TTL is longer than the maximum of {written(limits.max_ttl)}")
    return ttl


def written(duration: timedelta) -> str:
    """Write a duration the way a user types one: ``168h``, ``90m``, ``45s``."""
    seconds = int(duration.total_seconds())
    for unit, size in (("h", 3600), ("m", 60)):
        if seconds and seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def extended(created_at: datetime, expires_at: datetime, ttl: timedelta, limits: Limits) -> tuple[datetime, bool]:
    """Return the new end and whether the maximum lifetime from creation shortened it."""
    cap = created_at + limits.max_ttl
    wanted = expires_at + ttl
    return (cap, True) if wanted > cap else (wanted, False)


def check_route(kind: str, key: str, pointer: str = "/routes") -> Route:
    """Return a legal route.

    Raises:
        Invalid: the kind or key has a wrong form; ``routing.kinds`` has them.
    """
    try:
        return Route(kind, kinds.check_key(kind, key))
    except kinds.KindFormError as error:
        raise invalid(f"{pointer}/kind", str(error)) from error
    except kinds.KeyFormError as error:
        raise invalid(f"{pointer}/key", f"a {kind} key is {error}") from error


def check_terms(kind: str, key: str, mode: str, sample: float, pointer: str = "/routes") -> Route:
    """Return a legal route with its terms.

    Raises:
        Invalid: as ``check_route``; the mode is none, or the sample no part.
    """
    route = check_route(kind, key, pointer)
    if mode not in ("steal", "mirror", "replay"):
        raise invalid(f"{pointer}/mode", "a mode is 'steal', 'mirror' or 'replay'")
    if not 0 <= sample <= 1 or (mode != "mirror" and sample != 1):
        raise invalid(f"{pointer}/sample", "a sample is a part from 0 to 1, and only a mirror has one")
    return Route(route.kind, route.key, None, mode, float(sample))


def linked(routes: Sequence[Route], at: datetime) -> tuple[Route, ...]:
    """Return the routes as linked at an instant."""
    return tuple(Route(route.kind, route.key, at) for route in routes)


def check_tags(tags: Sequence[str]) -> tuple[str, ...]:
    """Return the distinct tags in order.

    Raises:
        Invalid: there are more than 20, or one has a wrong form.
    """
    if len(tags) > MAX_TAGS:
        raise invalid("/tags", f"at most {MAX_TAGS} tags")
    for index, tag in enumerate(tags):
        if TAG.fullmatch(tag) is None:
            raise invalid(f"/tags/{index}", "a tag is 1 to 63 characters of A-Z, a-z, 0-9 and '_.:/-'")
    return tuple(dict.fromkeys(tags))


def check_slices(slices: Sequence[str] | None) -> tuple[str, ...]:
    """Return the distinct slices in the order in which all are listed; None is the default.

    Raises:
        SliceUnknown: one has no such name, or there is none.
    """
    if slices is None:
        return DEFAULT_SLICES
    for index, name in enumerate(slices):
        if name not in SLICES:
            detail = f"no slice is called '{name[:64]}'"
            raise SliceUnknown(detail, errors=[{"pointer": f"/slices/{index}", "detail": detail}], known=list(SLICES))
    if not slices:
        detail = "a sandbox has at least one slice"
        raise SliceUnknown(detail, errors=[{"pointer": "/slices", "detail": detail}], known=list(SLICES))
    return tuple(name for name in SLICES if name in slices)


def check_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metadata.

    Raises:
        Invalid: it is larger than 16 KiB as JSON, or holds what JSON has not (NaN) or Postgres cannot store (NUL).
    """
    try:
        data = dumps(dict(metadata))
    except (TypeError, ValueError, RecursionError) as error:
        raise invalid("/metadata", "metadata must be plain JSON") from error
    if len(data) > MAX_METADATA_BYTES:
        raise invalid("/metadata", f"metadata is larger than {MAX_METADATA_BYTES} bytes as JSON")
    _check_storable(metadata)
    return dict(metadata)


def _check_storable(value: object) -> None:
    """Look at every text and number; the encoder has seen before that nothing is too deep."""
    if isinstance(value, str):
        if "\x00" in value:
            raise invalid("/metadata", "metadata cannot hold a NUL character")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise invalid("/metadata", "metadata cannot hold NaN or an infinite number: JSON has neither")
    elif isinstance(value, Mapping):
        for key, item in cast("Mapping[object, object]", value).items():
            _check_storable(key)
            _check_storable(item)
    elif isinstance(value, (list, tuple)):
        for item in cast("Sequence[object]", value):
            _check_storable(item)


def check_spec(
    *,
    owner: str,
    limits: Limits,
    name: str | None = None,
    template: str = "community",
    ttl: str | int | float | None = None,
    description: str | None = None,
    tags: Sequence[str] = (),
    metadata: Mapping[str, Any] | None = None,
    routes: Sequence[tuple[str, str]] = (),
    slices: Sequence[str] | None = None,
) -> Spec:
    """Check everything a caller sent and return the request as a value.

    Raises:
        Invalid: the first member that breaks a rule, named by its JSON pointer.
    """
    check_template(template, "/template")
    if description is not None:
        if len(description) > MAX_DESCRIPTION:
            raise invalid("/description", f"a description has at most {MAX_DESCRIPTION} characters")
        if _UNSTORABLE.search(description) is not None:
            raise invalid("/description", "a description cannot hold a NUL character or half of a surrogate pair")
    if len(routes) > MAX_ROUTES:
        raise invalid("/routes", f"at most {MAX_ROUTES} routes")
    checked = [check_route(kind, key, f"/routes/{index}") for index, (kind, key) in enumerate(routes)]
    for index, route in enumerate(checked):
        if route.kind == kinds.PATTERNS:
            # whether it overlaps another's is asked under a lock that a creation does not take
            raise invalid(f"/routes/{index}/kind", "patterns are linked to a sandbox that runs")
    return Spec(
        owner=check_owner(owner),
        template=template,
        ttl=check_ttl(limits.default_ttl if ttl is None else parse_ttl(ttl), limits),
        name=None if name is None else check_name(name),
        description=description,
        tags=check_tags(tags),
        metadata=check_metadata(metadata or {}),
        routes=tuple(dict.fromkeys(checked)),
        slices=check_slices(slices),
    )
