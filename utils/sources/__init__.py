"""Files from outside: fetched, checked by hash, cached, unpacked.

A source arrives from a mirror or its origin, resumes where it broke off, and counts only once its size and hash hold::

    source.py    one file from outside, and its addresses
    cache.py     the files that are here, and the hashes recorded of unpinned sources
    part.py      the bytes of one source that have arrived so far
    http.py      one try at one address over HTTP
    fetch.py     which addresses to try, in what order, how often
    progress.py  what a fetch reports, and how a terminal shows it
    unpack.py    archives, without trust in them

May import the ground: ``errors``, ``paths``, ``files``.
"""
