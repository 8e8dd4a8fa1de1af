"""API clients and their keys: shown once, stored as a hash, verified from a snapshot."""

from valhalla.features.operations.clients.contracts import ApiClient, IssuedKey
from valhalla.features.operations.clients.feature import Clients
from valhalla.features.operations.clients.service import MAX_GRACE, ClientService

__all__ = ["MAX_GRACE", "ApiClient", "ClientService", "Clients", "IssuedKey"]
