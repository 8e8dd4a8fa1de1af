"""What an operator sees a running control plane by."""
