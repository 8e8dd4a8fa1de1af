"""What honeypots and decoys can meet."""

from __future__ import annotations

from valhalla.kernel.problems import Conflict, Forbidden, Invalid, NotFound


class HoneypotNotFound(NotFound):
    """No honeypot has this name."""

    code = "honeypot-not-found"
    title = "There is no such honeypot"
    help = "'valhalla honeypot ls' lists them."


class DecoyNotFound(NotFound):
    """No decoy has this name."""

    code = "decoy-not-found"
    title = "There is no such decoy"
    help = "'valhalla honeypot decoy ls' lists them."


class HoneypotExists(Conflict):
    """A honeypot of this name is registered already."""

    code = "honeypot-exists"
    title = "There already is a honeypot of this name"
    help = "Choose another name, or rotate the key of that one."


class NoHoneypot(Forbidden):
    """The key is not the key of a honeypot, or of one that was deactivated."""

    code = "honeypot-unknown-sensor"
    title = "This key is no active honeypot's"
    help = "Register the honeypot ('valhalla honeypot new') and send with the key that was shown then."


class BadDecoy(Invalid):
    """The decoy contradicts itself, or would hide something that is really there."""

    code = "decoy-bad"
    title = "This is no valid decoy"
    help = "docs/honeypots.md says what a decoy may be."


class BadEvent(Invalid):
    """What was sent has not the form of such events."""

    code = "honeypot-bad-event"
    title = "This is no event of a honeypot"
    help = "Send the sensor's own JSON: docs/honeypots.md has examples."
