"""What an issuer's word makes of a person: pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from valhalla.features.operations.clients.people.contracts import PREFIX, Person, account
from valhalla.features.operations.clients.people.errors import NoAccess
from valhalla.kernel.principal import Principal
from valhalla.kernel.scopes import ROLES, Role, scopes_of

ANYBODY: Final = "*"
KEY: Final = rf"{PREFIX}[a-z0-9][a-z0-9_.@+-]{{0,119}}"
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_.@+-]{0,119}")
_OWNER: Final = re.compile(r"[a-z][a-z0-9_.-]{0,62}")
_MAIL: Final = re.compile(r"[^@\s]+@([a-z0-9.-]+)")


@dataclass(frozen=True, slots=True)
class Terms:
    """Who gets in: which claims are read, and what they must hold."""

    issuer: str
    roles: Mapping[str, Role]
    name_claim: str = "email"
    owner_claim: str | None = None
    groups_claim: str = "groups"
    domains: Sequence[str] = ()
    quorums: Mapping[str, str] = field(default_factory=dict[str, str])


def person_of(claims: Mapping[str, Any], terms: Terms, now: datetime) -> Person:
    """Return the person that verified claims describe; one without ``groups`` has no role.

    Raises:
        NoAccess: the claims name nobody, or somebody of another domain.
    """
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= 255:
        raise NoAccess("the issuer does not say who you are: the claim 'sub' is missing")
    _check_domain(claims, terms)
    name = _name(claims, terms)
    owner = _slug(name, account(terms.issuer, subject))
    if terms.owner_claim is not None:
        owner = str(claims.get(terms.owner_claim, ""))
        if _OWNER.fullmatch(owner) is None:
            raise NoAccess(f"the claim '{terms.owner_claim}' names no owner: a-z, 0-9, '_', '.', '-', a letter first")
    return Person(name, terms.issuer, subject, owner, _groups(claims, terms), now)


def role_of(person: Person, terms: Terms) -> Role | None:
    """Return the highest role that a person's groups have; none for somebody of another issuer."""
    if person.issuer != terms.issuer:
        return None
    given = {terms.roles[group] for group in person.groups if group in terms.roles}
    return next((role for role in reversed(ROLES) if role in given), None)


def principal_of(person: Person, terms: Terms) -> Principal | None:
    """Return who a person is; None for one who may not ask."""
    role = role_of(person, terms)
    if role is None or not person.active:
        return None
    quorums = {f"role:{terms.quorums[group]}" for group in person.groups if group in terms.quorums}
    return Principal(PREFIX + person.name, person.owner, scopes_of(role) | quorums, kind="person")


def _groups(claims: Mapping[str, Any], terms: Terms) -> tuple[str, ...]:
    said = claims.get(terms.groups_claim)
    listed: list[Any] = list(said) if isinstance(said, list | tuple) else [said]  # pyright: ignore[reportUnknownArgumentType]
    # who names a group of this name is not everybody
    names = {each for each in listed if isinstance(each, str)} - {ANYBODY}
    known = terms.roles.keys() | terms.quorums.keys()
    return tuple(sorted((names & known) | ({ANYBODY} & terms.roles.keys())))


def _name(claims: Mapping[str, Any], terms: Terms) -> str:
    said = claims.get(terms.name_claim)
    name = said.lower() if isinstance(said, str) else ""
    if _NAME.fullmatch(name) is None:
        raise NoAccess(f"the claim '{terms.name_claim}' names nobody that could be called so here")
    if terms.name_claim == "email" and claims.get("email_verified") is not True:
        raise NoAccess("the issuer has not verified your mail address: the claim 'email_verified' is not true")
    return name


def _check_domain(claims: Mapping[str, Any], terms: Terms) -> None:
    if not terms.domains:
        return
    mail = claims.get("email")
    found = _MAIL.fullmatch(mail.lower()) if isinstance(mail, str) else None
    if found is None or claims.get("email_verified") is not True:
        raise NoAccess("the issuer names no verified mail address of yours")
    if found[1] not in terms.domains:
        raise NoAccess("your mail address is of none of the domains that may sign in")


def _slug(name: str, digest: str) -> str:
    # two people of one name at different places are two owners, and nobody becomes a key's
    plain = re.sub(r"[^a-z0-9_.-]+", "-", name.partition("@")[0]).strip("-.") or "person"
    return f"{plain if plain[0].isalpha() else 'p-' + plain}"[:54].rstrip("-.") + f"-{digest[:8]}"
