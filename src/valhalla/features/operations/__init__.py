"""What an operator runs the control plane with."""
