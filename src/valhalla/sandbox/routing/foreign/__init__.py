"""Publishers that we do not own: programs that write subjects of their own straight to NATS."""
