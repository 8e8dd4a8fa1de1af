"""What CrowdSec's protocol answers where others get a problem: a status and one message."""

from __future__ import annotations

from valhalla.kernel.problems import Problem


class LapiRefusal(Problem):
    """A request of CrowdSec's API that is refused. On the wire it is ``{"message": …}``, as bouncers expect it."""

    code = "crowdsec-refused"
    status = 400
    title = "The request of a bouncer or agent is refused"
    help = "See docs/blocklist.md for what bouncers and agents need."


class AccessForbidden(LapiRefusal):
    """No key, an unknown one, or one without the scope: bouncers get 403 for all three, never 401."""

    code = "crowdsec-forbidden"
    status = 403
    title = "access forbidden"
    help = "Give the bouncer a key with the scope 'bouncer': valhalla key new OWNER --scope bouncer"


class BadLogin(LapiRefusal):
    """The login of an agent is wrong, or its token is not valid any more."""

    code = "crowdsec-login"
    status = 401
    title = "incorrect Username or Password"
    help = "The password of an agent is an API key with the scope 'blocklist:write'."


class CannotFilter(LapiRefusal):
    """A filter or a body cannot be understood. CrowdSec answers 500; to its clients every refusal is the same."""

    code = "crowdsec-filter"
    status = 400
    title = "the filter cannot be understood"
    help = "Filter by ip, range, value, scope, type, origin or scenario."


class NoSuchThing(LapiRefusal):
    """No alert or decision has this number."""

    code = "crowdsec-not-found"
    status = 404
    title = "object not found"
    help = "Its number changes whenever a decision is renewed."
