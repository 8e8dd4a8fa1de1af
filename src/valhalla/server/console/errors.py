"""What a person at the console can meet."""

from __future__ import annotations

from valhalla.kernel.problems import Forbidden, NotFound, Unauthenticated


class NotSignedIn(Unauthenticated):
    """There is no session, or it has expired, or its key was revoked."""

    code = "not-signed-in"
    title = "You are not signed in"
    help = "Sign in with an API key, or with the link that 'valhalla login' prints."


class LinkUsed(Unauthenticated):
    """A link signs in once, within five minutes, and while the key that made it is valid."""

    code = "login-link-used"
    title = "This link signs nobody in any more"
    help = "'valhalla login' prints a fresh one."


class FormRefused(Forbidden):
    """A form was sent from elsewhere, or by a page of another session."""

    code = "form-refused"
    title = "The form was not sent from this session's page"
    help = "Open the page again and repeat it there."


class NoSuchPage(NotFound):
    """The console has no page of this name, or not for this key."""

    code = "no-such-page"
    title = "There is no such page"
    help = "The navigation lists every page that your key may see."
