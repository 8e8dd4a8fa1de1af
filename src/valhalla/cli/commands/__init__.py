"""The commands of the control plane itself; each is imported when it is called."""
