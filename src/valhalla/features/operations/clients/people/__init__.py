"""People who sign in with an issuer of their organisation: what they may do follows from their groups there."""

from valhalla.features.operations.clients.people.contracts import PREFIX, Person
from valhalla.features.operations.clients.people.people import People

__all__ = ["PREFIX", "People", "Person"]
