"""How fast the gateway goes about things, and how much it keeps; other numbers than these are for tests."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pace:
    """All in seconds unless it says otherwise."""

    heartbeat: float = 41.25
    """How often bots are told to beat; one that is silent for half as long again is closed."""
    identify_within: float = 60.0
    """A connection without a session is closed after this time."""
    identify_every: float = 5.0
    """One IDENTIFY of a sandbox in this time, as ``max_concurrency`` 1 says."""
    identifies: int = 1000
    """So many in a day."""
    frames: int = 120
    """So many frames of a bot in a minute."""
    connections: int = 2000
    """Of all sandboxes together."""
    each: int = 64
    """Connections of one sandbox."""
    kept: int = 10_000
    """So many missed events are sent again to a session that is resumed."""
    batch: int = 64
    """So many events are read ahead of what a bot has taken."""
    looking: float = 0.25
    """How often it looks whether claims have moved."""
    running: float = 1.0
    """How often it looks whether the sandbox runs."""
    introducing: float = 1.5
    """So long an event waits for its guild to be introduced."""
    goodbye: float = 1.0
    """How long bots have to leave by themselves when the process ends."""
