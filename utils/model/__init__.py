"""A network and its data: build it, load its weights, feed it, and check it against its recipe.

TensorFlow is imported inside the functions that need it, never at the top of a module.
May import ``recipe``, ``sources``, ``npu`` and the ground.
"""
