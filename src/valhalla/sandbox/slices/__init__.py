"""One module per backend: how its part of a sandbox is made, cut off, dropped and checked."""
