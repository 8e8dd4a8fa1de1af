"""API clients and their keys: shown once, stored as a hash, verified from a snapshot."""

from valhalla.features.operations.clients.contracts import ApiClient, IssuedKey
from valhalla.features.operations.clients.service import ClientService, client_registry

__all__ = ["ApiClient", "ClientService", "IssuedKey", "client_registry"]
