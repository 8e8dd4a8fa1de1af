"""What signing people in can meet."""

from __future__ import annotations

from valhalla.kernel.problems import Forbidden, NotFound


class PersonNotFound(NotFound):
    """Nobody of this name has signed in."""

    code = "person-not-found"
    title = "There is no such person"
    help = "'valhalla person ls' lists those who have signed in."


class NoAccess(Forbidden):
    """The issuer knows the person, and nothing that it says gives a role here."""

    code = "no-access"
    title = "You have no access to this control plane"
    help = "Ask its operator for a role: the setting 'oidc_roles' says which groups have one."


class NameTaken(Forbidden):
    """Another account of the issuer signed in under this name before."""

    code = "name-taken"
    title = "Another account has this name"
    help = "If the name has a new holder, an operator deletes the person's record: 'valhalla person rm …'."


class PersonInactive(Forbidden):
    """An operator has deactivated the person."""

    code = "person-inactive"
    title = "You may not sign in here any more"
    help = "An operator can activate you again."
