"""The bundle that goes to a board: its manifest and files, and the pictures and tables of its card.

May import ``graph``, ``model`` and every room below them.
"""
