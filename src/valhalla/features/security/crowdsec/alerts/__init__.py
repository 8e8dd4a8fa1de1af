"""The alerts that agents reported: which are asked for, and where they are kept."""
