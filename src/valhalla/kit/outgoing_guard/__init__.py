"""Requests that go out and cannot reach what nobody meant them to: private addresses, other hosts, endless answers.

The address is checked when it is connected to, so a name that is moved after it was looked at gains nothing.
``transport`` and ``exchange`` need httpx and are imported by who sends.
"""

from valhalla.kit.outgoing_guard.errors import AnswerTooLarge, TargetRefused
from valhalla.kit.outgoing_guard.rules import Base, Reach

__all__ = ["AnswerTooLarge", "Base", "Reach", "TargetRefused"]
