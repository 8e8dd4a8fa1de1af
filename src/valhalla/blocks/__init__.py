"""What Batch 1 called its ten blocks, and the orchestrator that is all of them: thin faces of the product's parts.

The four that are about one guarded call (lock, limits, keys, retries) are in ``valhalla.guard.blocks``.
"""
