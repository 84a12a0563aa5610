"""A network and its data: building it, filling it with weights, feeding it, holding it to what its recipe expects.

TensorFlow is imported inside the functions that need it, never by importing a module.
May import ``recipe``, ``sources``, ``npu`` and the ground.
"""
