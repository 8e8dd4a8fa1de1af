"""The people of an issuer: who they are now, from a snapshot."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

import msgspec
from sqlalchemy.engine import Connection

from valhalla.features.contracts import Platform
from valhalla.features.operations.clients.people import rules
from valhalla.features.operations.clients.people.contracts import PREFIX, Person
from valhalla.features.operations.clients.people.errors import NameTaken, NoAccess, PersonInactive
from valhalla.features.operations.clients.people.rules import Terms
from valhalla.kernel.principal import Principal
from valhalla.kernel.problems import Unavailable
from valhalla.kit.registry import Registry
from valhalla.kit.settings import Settings

if TYPE_CHECKING:
    from datetime import datetime

    from fastapi import APIRouter

REGISTRY: Final = "people"


class People:
    """Signs people in and knows them. Without an issuer in the settings nobody is known."""

    def __init__(self, platform: Platform, last_used: Callable[[str], datetime | None]) -> None:
        """Register the registry and follow it."""
        self.terms = terms_of(platform.settings)
        self.registry = Registry(REGISTRY, Person, platform.ledger)
        platform.feed.add(self.registry)
        self._feed, self._db, self._last_used = platform.feed, platform.db, last_used

    def find(self, id_: str) -> Person | None:
        """Return a person of the current snapshot."""
        record = self._feed.snapshot(REGISTRY).records.get(id_)
        return None if record is None else record.value

    def find_principal(self, id_: str) -> Principal | None:
        """Return who a person is now; None for nobody, or one whom no role is left."""
        person = self.find(id_)
        return None if person is None or self.terms is None else rules.principal_of(person, self.terms)

    async def admit(self, said: Person) -> Principal:
        """Take an issuer's word about a person: other sessions have the new rights at once, or end.

        Raises:
            NoAccess: no group of theirs has a role.
            NameTaken: another account has the name.
            PersonInactive: an operator does not want them here.
        """
        key, terms = PREFIX + said.name, self.terms
        if terms is None:
            raise NoAccess("no issuer is trusted here")

        def work(conn: Connection) -> Person:
            self.registry.lock(conn)
            record = self.registry.find(conn, key)
            person = said
            if record is not None:
                if record.value.digest != said.digest:
                    raise NameTaken
                person = msgspec.structs.replace(said, created_at=record.value.created_at, active=record.value.active)
            if record is not None or rules.role_of(person, terms) is not None:
                # who was never let in leaves nothing behind
                self.registry.put(conn, key, person, actor=key, reason="signed in")
            return person

        person = await self._db.run(work)
        # what is committed stays, and the feed catches up by itself
        with contextlib.suppress(Unavailable):
            await self._feed.refresh()
        if not person.active:
            raise PersonInactive
        principal = rules.principal_of(person, terms)
        if principal is None:
            raise NoAccess("none of your groups has a role here")
        return principal

    def routers(self) -> Sequence[APIRouter]:
        """Return ``/system/people``."""
        from valhalla.features.operations.clients.people.face import router

        return (router(self.registry, self.terms, self._last_used, self._db, self._feed.refresh),)


def terms_of(settings: Settings) -> Terms | None:
    """Return who gets in; None without an issuer."""
    if settings.oidc_issuer is None:
        return None
    return Terms(
        issuer=settings.oidc_issuer,
        roles=settings.oidc_roles,
        name_claim=settings.oidc_name_claim,
        owner_claim=settings.oidc_owner_claim,
        groups_claim=settings.oidc_groups_claim,
        quorums=settings.oidc_quorums,
        domains=tuple(domain.lower() for domain in settings.oidc_domains),
    )
