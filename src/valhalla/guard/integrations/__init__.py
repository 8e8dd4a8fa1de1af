"""Guarded actions where calls come from: web routes, task queues, the tool calls of agents.

Each module imports its framework and nothing else does: ``valhalla.guard`` needs none of them.
"""
