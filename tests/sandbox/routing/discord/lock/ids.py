"""The ids of two guilds, or of two channels: one of a sandbox and one of somebody else."""

from __future__ import annotations

A, B = "811234567890123456", "811234567890129999"
