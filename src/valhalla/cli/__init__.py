"""The command line: talks to the control plane through the SDK, and starts it."""
