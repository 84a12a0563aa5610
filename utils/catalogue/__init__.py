"""The catalogue: the zoo's own site, made from what the bundles in ``artifacts/`` say about themselves.

May import ``bundle``, ``graph``, ``model`` and every room below them; ``release`` may import it.
"""
