"""Log lines that can be searched."""
