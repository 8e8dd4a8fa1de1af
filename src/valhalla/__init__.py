"""A safe place to run risky backend code, and the console that governs it."""
