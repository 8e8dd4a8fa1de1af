"""The guard's parts under the names and with the answers of Batch 1: thin faces of the same engine."""
