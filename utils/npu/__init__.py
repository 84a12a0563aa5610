"""The boards' NPUs: BSPs, the Vela compiler, and what each delegate takes.

The tables beside the code (``bsp.csv``, ``operators.csv``, ``compat.toml``) hold the facts with their evidence.
May import the ground: ``errors``, ``paths``, ``files``, ``environment``, ``tflite``.
"""
