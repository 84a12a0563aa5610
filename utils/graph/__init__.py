"""The task graph: which steps a model takes, when a step is current, and what it left.

May import ``model``, ``recipe``, ``sources``, ``npu`` and the ground.
"""
