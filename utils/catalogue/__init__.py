"""The catalogue: a site about the models in ``artifacts/``, from what their bundles say, complete without a server.

A room of its own: it reads bundles as data that may be damaged or hostile, and builds nothing.
"""
