"""The task graph: which steps a model takes, when a step is current, what it left, and what doit says of it.

May import ``model``, ``recipe``, ``sources``, ``npu`` and the ground.
"""
