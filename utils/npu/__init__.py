"""The boards' NPUs: BSPs, the Vela compiler, and the operators that each delegate supports.

The tables beside the code (``bsp.csv``, ``operators.csv``, ``compat.toml``) have the facts with their evidence.
May import the ground: ``errors``, ``paths``, ``files``, ``environment``, ``tflite``.
"""
