"""Files from outside: fetched, checked by hash, cached, unpacked.

A source arrives from a mirror or its origin, resumes where it broke off, and counts only once its size and hash hold.
May import the ground: ``errors``, ``paths``, ``files``.
"""
