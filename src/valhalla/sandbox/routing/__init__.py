"""Live events: what belongs to a sandbox reaches the sandbox, and only the sandbox."""
