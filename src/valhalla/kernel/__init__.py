"""Pure words the whole product shares: standard library only, no I/O."""
