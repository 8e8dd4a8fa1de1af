"""What issuing, changing and using keys can meet."""

from __future__ import annotations

from valhalla.kernel.problems import Conflict, Forbidden, NotFound


class ClientNotFound(NotFound):
    """No client has this id."""

    code = "client-not-found"
    title = "There is no such API client"
    help = "'valhalla key ls' lists them."


class LastAdmin(Conflict):
    """Nobody could administer keys afterwards."""

    code = "last-admin-key"
    title = "This is the last key that can administer the control plane"
    help = "Make another admin key first, or revoke this one with ?confirm=true ('valhalla key revoke --confirm')."


class ClientInactive(Conflict):
    """The client was deactivated or has expired."""

    code = "client-inactive"
    title = "This API client is not active"
    help = "Activate it (or give it a later expiry) first, or issue another key."


class BeyondOwnRights(Forbidden):
    """A key can only give rights that it has."""

    code = "beyond-own-rights"
    title = "A key cannot give more rights than it has"
    help = "Leave out the named scopes, or ask somebody who holds them."


class AddressRefused(Forbidden):
    """The key is bound to networks, and the caller's address is in none of them."""

    code = "key-address-refused"
    title = "This key may not be used from here"
    help = "Call from one of the networks that the key is bound to, or have its list changed."
