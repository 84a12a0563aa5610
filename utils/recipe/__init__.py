"""Recipes: the closed schema of ``recipes/<name>/recipe.toml``, its loader, and the lists that data sets name.

May import ``sources``, ``npu`` and the ground.
"""
