"""L3: what Python code itself does, as the interpreter's audit events tell it."""
